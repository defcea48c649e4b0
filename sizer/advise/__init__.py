"""From estimates to decisions: what to run, on what, and the command that does it."""
