"""The compute buffers of ggml: the graph of one step, and its allocation replayed."""
