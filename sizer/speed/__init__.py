"""Seconds: traffic, the law and its terms, launches, speculation."""
