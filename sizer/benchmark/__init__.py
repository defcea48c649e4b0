"""Loads a model and generates, in a child process, and measures it."""
