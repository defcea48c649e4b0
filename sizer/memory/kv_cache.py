"""The cache that a sequence keeps: keys and values by attention kind, and the state of recurrent mixers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from sizer.errors import UnknownPrecision, did_you_mean
from sizer.model.architecture import Architecture, Layer, Mixer
from sizer.tables import read_rows


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """How cached values are stored: `block_bytes` for every `block_values` values of a row."""

    key: str
    block_values: int
    block_bytes: int

    def row_bytes(self, values: int) -> int:
        """Bytes of one row of `values` values, rounded up to whole blocks."""
        return -(-values // self.block_values) * self.block_bytes


@cache
def cache_formats() -> dict[str, CacheFormat]:
    """The cache formats of `data/kv_formats.csv` by key."""
    return {
        row["key"]: CacheFormat(row["key"], int(row["block_values"]), int(row["block_bytes"]))
        for row in read_rows("kv_formats.csv")
    }


def cache_format(name: str) -> CacheFormat:
    """The cache format of a name; UnknownPrecision with the nearest names otherwise."""
    key = {"f16": "fp16", "f32": "fp32", "float16": "fp16", "bfloat16": "bf16", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8"}
    formats = cache_formats()
    wanted = key.get(name.lower(), name.lower())
    if wanted not in formats:
        hint = did_you_mean(wanted, formats) or f"Known: {', '.join(formats)}."
        raise UnknownPrecision(f"unknown --kv-precision {name!r}.", hint)
    return formats[wanted]


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
