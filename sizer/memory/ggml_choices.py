"""What engines on ggml choose by themselves before they reserve a step: flash attention, and the micro-batch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from sizer.frozen import NamedTuple
from sizer.model.architecture import Mixer
from sizer.tables import read_rows
from sizer.units import GIB, MIB

DEFAULT_BATCH, CONSTRAINED_BATCH = 512, 256
"""Tokens of Ollama's micro-batch, and those on a small card."""
SHORT_CONTEXT_TOKENS, SMALL_CARD_BYTES = 4096, 8 * GIB
"""A small card has 8 GiB or less; up to this context it takes the usual batch."""
FILLED = 0.8
"""Share of the free memory that Ollama's prediction and a larger batch may take together: server/sched.go."""
LATENT_WIDTH = 512
"""Values of a latent; what a wider row holds besides are rotated keys."""


class Batch(NamedTuple):
    """A larger micro-batch of Ollama: from which context on, the share of memory that the model may take, its price."""

    above_tokens: int
    tokens: int
    model_share: float
    price_bytes: int


LARGER_BATCHES = (Batch(32_768, 2048, 0.6, 2 * GIB), Batch(4096, 1024, 0.75, 768 * MIB))
"""server/sched.go automaticGenerationBatch (0.30 to 0.33, read)."""


class Heads(NamedTuple):
    """What a flash attention kernel must know: widths of a head's keys and values, query heads a KV head."""

    key_width: int
    value_width: int
    shared: int


def heads_of(mixer: Mixer, *, expands_latent: bool = False) -> Heads:
    """The heads that a mixer's attention runs with: MLA on its latent, one KV head for all, unless it is expanded."""
    if mixer.latent_elements and not expands_latent:
        return Heads(mixer.latent_elements, min(mixer.latent_elements, LATENT_WIDTH), mixer.heads)
    kv_heads = mixer.heads if mixer.latent_elements else mixer.kv_heads
    return Heads(mixer.qk_head_dim, mixer.v_head_dim, mixer.heads // max(1, kv_heads))


def has_flash_kernels(backend: str | None, heads: Iterable[Heads]) -> bool:
    """Whether a backend has a kernel for all of a model's heads; one without rows (`data/flash_kernels.csv`) has."""
    kernels = _kernels().get(backend or "")
    if kernels is None:
        return True
    return all(
        any(
            (item.key_width, item.value_width) == (row.key_width, row.value_width)
            and item.shared >= least and item.shared % row.shared == 0
            for row, least in kernels
        )
        for item in heads
    )  # fmt: skip


@cache
def _kernels() -> dict[str, list[tuple[Heads, int]]]:
    """By backend: the heads that kernels take, `shared` a multiple of the row's, and how many share at least."""
    found: dict[str, list[tuple[Heads, int]]] = {}
    for row in read_rows("flash_kernels.csv"):
        heads = Heads(int(row["key_width"]), int(row["value_width"]), int(row["shared_multiple"]))
        for backend in row["backends"].split():
            found.setdefault(backend, []).append((heads, int(row["least_shared"])))
    return found


def automatic_batch(context_tokens: int, predicted_bytes: int, free_bytes: int | None) -> int:
    """Ollama's micro-batch for a context of all slots together, where its prediction of the model leaves room."""
    for batch in LARGER_BATCHES:
        if context_tokens <= batch.above_tokens:
            continue
        if free_bytes is None:
            return batch.tokens
        if (
            predicted_bytes <= batch.model_share * free_bytes
            and batch.price_bytes <= FILLED * free_bytes - predicted_bytes
        ):
            return batch.tokens
    return DEFAULT_BATCH


def batch_without_flash_attention(context_tokens: int, card_bytes: int | None) -> int:
    """Ollama's micro-batch on CUDA where flash attention was turned off: less on small cards."""
    small = card_bytes is not None and card_bytes <= SMALL_CARD_BYTES
    return CONSTRAINED_BATCH if small and context_tokens > SHORT_CONTEXT_TOKENS else DEFAULT_BATCH
