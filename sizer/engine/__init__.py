"""What an engine is: its backends, splits, ladders, releases and how it takes memory."""
