"""Composes an estimate, with its assumptions, and the records that a user gets."""
