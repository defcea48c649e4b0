"""A load test of a server: what is sent when, what its users saw, and the same load simulated beside it."""
