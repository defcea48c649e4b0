"""The cache that a sequence keeps: keys and values by attention kind, and the state of recurrent mixers."""

from __future__ import annotations

from dataclasses import replace

from sizer.cache_formats import CacheFormat
from sizer.model.architecture import Architecture, Layer, Mixer


def mixer_cache_bytes(mixer: Mixer, context_tokens: int, kv_format: CacheFormat, state_bytes_per_value: int) -> int:
    """Bytes that one mixer keeps for one sequence at a context.

    Keys and values are rows of their own (`kv_heads * head_dim` values each), the MLA latent is one row; the indexer of
    sparse attention caches its keys in the same format for the whole context. States are kept whatever the context.
    """
    if mixer.latent_elements:
        token_bytes = kv_format.row_bytes(mixer.latent_elements)
    else:
        token_bytes = kv_format.row_bytes(mixer.kv_heads * mixer.qk_head_dim)
        token_bytes += kv_format.row_bytes(mixer.kv_heads * mixer.v_head_dim)
    kept_bytes = 0 if mixer.shares_kv else token_bytes * mixer.cached_tokens(context_tokens)
    indexer_bytes = kv_format.row_bytes(mixer.indexer_elements) * context_tokens if mixer.indexer_elements else 0
    return kept_bytes + indexer_bytes + mixer.state_elements * state_bytes_per_value


def while_reading(mixer: Mixer, chunk_tokens: int) -> Mixer:
    """The mixer while a chunk is read: beside its window it holds the chunk, until the next step cuts it off."""
    return mixer if mixer.window_tokens is None else replace(mixer, window_tokens=mixer.window_tokens + chunk_tokens)


def layer_cache_bytes(layer: Layer, context_tokens: int, kv_format: CacheFormat, state_bytes_per_value: int) -> int:
    """Bytes of cache and state of one sequence in one layer."""
    return sum(mixer_cache_bytes(mixer, context_tokens, kv_format, state_bytes_per_value) for mixer in layer.mixers)


def sequence_cache_bytes(
    architecture: Architecture, context_tokens: int, kv_format: CacheFormat, state_bytes_per_value: int = 2
) -> int:
    """Bytes of cache and state of one sequence over all layers."""
    return sum(
        count * mixer_cache_bytes(mixer, context_tokens, kv_format, state_bytes_per_value)
        for mixer, count in architecture.mixer_counts.items()
    )
