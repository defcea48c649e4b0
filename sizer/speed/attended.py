"""What one layer's attention reads of its cache and computes over it: entries attended to, bytes and FLOPs."""

from __future__ import annotations

from functools import lru_cache

from sizer.cache_formats import cache_format
from sizer.model.architecture import Architecture, Mixer, MixerKind
from sizer.workload import Workload


def attended_tokens(mixer: Mixer, context_tokens: int) -> int:
    """Cached entries that one new token attends to: the window's or the indexer's selection at most."""
    kept = mixer.cached_tokens(context_tokens)
    return kept if mixer.selected_tokens is None else min(kept, mixer.selected_tokens)


def weighed_tokens(mixer: Mixer, context_tokens: int, beside_window: float) -> int:
    """Cached entries that a step reads and weighs for one new token: those that it attends to, and those that its layer
    keeps beside the window, which are masked."""
    seen = attended_tokens(mixer, context_tokens)
    if not beside_window or mixer.window_tokens is None or mixer.selected_tokens is not None:
        return seen
    kept = min(context_tokens, mixer.window_tokens + beside_window)
    return max(seen, int(kept) // mixer.compression_tokens)


def causal_attended_tokens(mixer: Mixer, prompt_tokens: int, cached_tokens: int = 0) -> int:
    """Sum over the prompt's tokens of how many entries each attends to (itself included); an encoder's to all."""
    if mixer.kind is MixerKind.BIDIRECTIONAL:
        return prompt_tokens * min(prompt_tokens, mixer.window_tokens or prompt_tokens)
    limits = [limit for limit in (mixer.window_tokens, mixer.selected_tokens) if limit is not None]
    last = cached_tokens + prompt_tokens
    limit = min([last, *limits])
    rising = max(0, limit - cached_tokens)
    attended = rising * cached_tokens + rising * (rising + 1) // 2 + (prompt_tokens - rising) * limit
    return attended // mixer.compression_tokens


@lru_cache(maxsize=256)
def last_token_layers(architecture: Architecture) -> frozenset[int]:
    """The layers at the end whose mixers all read other layers' keys and values: but for the last token's, no one reads
    what they make."""
    found = set()
    for layer in reversed(architecture.layers):
        if not layer.mixers or not all(mixer.shares_kv for mixer in layer.mixers):
            break
        found.add(layer.index)
    return frozenset(found)


def attention_flops(mixer: Mixer, attended: int, expanded: bool = False) -> int:
    """FLOPs of scores and weighted values over `attended` entries, all heads of one layer.

    MLA with absorbed projections works on the latent (twice its width a head); expanded, on the heads' own widths.
    Mixers that keep a state (linear attention, SSM …) score no tokens: `sizer.speed.traffic` counts what updates it.
    """
    if not mixer.heads or mixer.is_recurrent:
        return 0
    if mixer.latent_elements and not expanded:
        return 2 * mixer.heads * 2 * mixer.latent_elements * attended
    return 2 * mixer.heads * (mixer.qk_head_dim + mixer.v_head_dim) * attended


def expansion_flops(mixer: Mixer, attended: int) -> int:
    """FLOPs of rebuilding every head's keys and values from the latent over `attended` entries."""
    return 2 * mixer.latent_elements * mixer.heads * (mixer.qk_head_dim + mixer.v_head_dim) * attended


def read_cache_bytes(mixer: Mixer, context: int, kept: int, block_bytes: int, block_values: int) -> int:
    """Bytes of cache that one sequence's new token reads in one layer, a shared cache included."""
    values = mixer.latent_elements or mixer.kv_heads * (mixer.qk_head_dim + mixer.v_head_dim)
    read = values * kept + mixer.indexer_elements * context
    return -(-read * block_bytes // block_values)


def copied_cache_bytes(architecture: Architecture, workload: Workload, *, repeats: bool) -> int:
    """Bytes that a decode step moves beyond reading the cache once, where an engine concatenates it with the new token.

    transformers' dynamic cache is read and written whole by each `torch.cat`; where it `repeats`, heads that share
    keys and values are then repeated for every query head (written, and read by the attention instead of the cache).
    """
    kv_format = cache_format(workload.kv_precision)
    moved = 0
    for mixer, layers in architecture.mixer_counts.items():
        kept = mixer.cached_tokens(workload.decode_context_tokens)
        width = mixer.qk_head_dim + mixer.v_head_dim
        cached = mixer.kv_elements_per_token
        shared = mixer.heads > mixer.kv_heads > 0 and not mixer.latent_elements
        repeated = mixer.heads * width if repeats and shared else 0
        moved += layers * kept * 2 * (cached + repeated)
    return -(-moved * workload.batch_size * kv_format.block_bytes // kv_format.block_values)
