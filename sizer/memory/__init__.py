"""Bytes on each device: footprint, caches, buffers, placement."""
