"""What is asked of the model: tokens, batch, the format of the cache, ways to split. Checked where it is made.

Every door (command line, Python, rows of a sweep, the page) makes the same record, and is refused with the same words.
"""

from __future__ import annotations

from enum import Enum

from sizer.cache_formats import cache_format
from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.printable import shown

MOST_TOKENS = 10**9
"""More tokens than any model was made for; what is larger is a slip."""
MOST_SEQUENCES, MOST_THREADS, MOST_LAYERS = 65_536, 4096, 10_000
"""More sequences, threads and layers than anything runs: what is larger is a slip."""
USUAL_DRAFTED, MOST_DRAFTED = 4, 64
"""Tokens that a draft makes a step where nobody says how many, and more than any makes."""


class Split(str, Enum):
    """How several devices share one model.

    Tensor, row and expert splits work on each layer together (a row split gathers instead of reducing; experts lie
    whole on one device each); layer and pipeline splits hold whole layers; data is one copy of the model on each.
    """

    TENSOR = "tensor"
    PIPELINE = "pipeline"
    LAYER = "layer"
    ROW = "row"
    EXPERT = "expert"
    DATA = "data"
    TENSOR_AND_PIPELINE = "tensor+pipeline"

    @classmethod
    def parse(cls, text: str) -> Split:
        """The split of a name. Raises UsageError with the names there are."""
        wanted = str(getattr(text, "value", text)).strip().lower()
        for split in cls:
            if split.value == wanted:
                return split
        names = [split.value for split in cls]
        raise UsageError(
            f"{text!r} is no way to split a model over devices.",
            did_you_mean(wanted, names) or f"Known: {', '.join(names)}.",
        )

    @property
    def within_layers(self) -> bool:
        """Whether the devices work on each layer together, and so each holds a part of every layer."""
        return self in _WITHIN_LAYERS

    @property
    def whole_layers(self) -> bool:
        """Whether each device holds layers of its own."""
        return self in {Split.LAYER, Split.PIPELINE}


_WITHIN_LAYERS = frozenset({Split.TENSOR, Split.ROW, Split.EXPERT, Split.TENSOR_AND_PIPELINE})


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds. Raises UsageError naming it, the value and the bounds.

    >>> whole_number("batch", 4, 1, 8)
    4
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} is {shown(value)}.", f"It is a whole number from {least:,} to {most:,}.")
    return value


@dataclass(frozen=True, slots=True)
class Workload:
    """One way of using a model.

    `context_tokens` is the cache's length that memory is reserved for (prompt + output unless asked otherwise);
    `decode_context_tokens` is how many tokens are in the cache when a decoded token is timed. `parallelism` None is the
    engine's own first way. `routed_alike` is what each further sequence counts as where experts are chosen: 1 of texts
    of their own, less of a benchmark's random tokens. Raises UsageError for a number out of bounds, UnknownPrecision
    for a cache format that nobody has.
    """

    prompt_tokens: int = 512
    output_tokens: int = 128
    context_tokens: int = 640
    batch_size: int = 1
    kv_precision: str = "fp16"
    parallelism: Split | None = None
    gpu_layers: int | None = None
    threads: int | None = None
    routed_alike: float = 1.0

    def __post_init__(self) -> None:
        whole_number("prompt", self.prompt_tokens, 0, MOST_TOKENS)
        whole_number("output", self.output_tokens, 0, MOST_TOKENS)
        whole_number("context", self.context_tokens, 0, 2 * MOST_TOKENS)
        whole_number("batch", self.batch_size, 1, MOST_SEQUENCES)
        if self.gpu_layers is not None:
            whole_number("gpu-layers", self.gpu_layers, 0, MOST_LAYERS)
        if self.threads is not None:
            whole_number("threads", self.threads, 1, MOST_THREADS)
        object.__setattr__(self, "kv_precision", cache_format(self.kv_precision).key)
        if self.parallelism is not None:
            object.__setattr__(self, "parallelism", Split.parse(self.parallelism))

    @property
    def decode_context_tokens(self) -> int:
        """Mean number of cached tokens while decoding: the prompt and half the output, within the context."""
        return min(self.context_tokens, self.prompt_tokens + self.output_tokens // 2)
