"""What is asked of the model: tokens, batch, precisions of the cache, ways to split."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """One way of using a model.

    `context_tokens` is the cache's length that memory is reserved for (prompt + output unless asked otherwise);
    `decode_context_tokens` is how many tokens are in the cache when a decoded token is timed.
    """

    prompt_tokens: int = 512
    output_tokens: int = 128
    context_tokens: int = 640
    batch_size: int = 1
    kv_precision: str = "fp16"
    parallelism: str = ""
    gpu_layers: int | None = None
    threads: int | None = None

    @property
    def decode_context_tokens(self) -> int:
        """Mean number of cached tokens while decoding: the prompt and half the output, within the context."""
        return min(self.context_tokens, self.prompt_tokens + self.output_tokens // 2)
