"""How a run keeps its cache: cells, sequences, formats; and what each layer keeps of it, in bytes."""

from __future__ import annotations

from functools import lru_cache

from sizer.cache_formats import CacheFormat
from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, Layer, Mixer, MixerKind, Role

CELL_PADDING = 256
"""Caches of ggml are padded to this many cells: src/llama-context.cpp, llama-kv-cache-iswa.cpp."""
SCALED_FP8 = CacheFormat("fp8 with scales", 128, 132)
"""128 values in fp8 and their 32-bit scale: an indexer's keys in vLLM (models/deepseek_v2.py, read) and its kin."""
STATE_KINDS = frozenset({MixerKind.LINEAR, MixerKind.SSM, MixerKind.RECURRENT, MixerKind.CONV})


class CachePlan(NamedTuple):
    """The cache of a run.

    `tokens` are those that one stream holds, of which there are `streams`: one a sequence, or one for all
    (`unified`). Recurrent states are kept for each of `sequences`. `window_cache` is window (that many tokens a
    sequence), cells (llama.cpp: window and `step_tokens`, padded) or whole. Values of a recurrent state take
    `state_bytes`, those of a convolution `conv_bytes`, one kernel column less where `drops_conv_column`. While a prompt
    is read a layer with a window holds `held_beside_window` tokens besides. `expands_latent` keeps the heads' keys and
    values of MLA instead of its latent, `scales_indexer` an indexer's keys in fp8.
    """

    sequences: int
    streams: int
    tokens: int
    step_tokens: int
    k_format: CacheFormat
    v_format: CacheFormat
    window_cache: str
    state_bytes: int
    conv_bytes: int
    drops_conv_column: bool
    copies: int = 1
    expands_latent: bool = False
    held_beside_window: int = 0
    scales_indexer: bool = False

    @property
    def unified(self) -> bool:
        """Whether several sequences share one stream."""
        return self.streams < self.sequences

    def layer_tokens(self, mixer: Mixer) -> int:
        """Tokens that one stream keeps for a mixer: none for an encoder's."""
        if mixer.kind is MixerKind.BIDIRECTIONAL:
            return 0
        if mixer.window_tokens is None or self.window_cache == "whole":
            return self.tokens
        if self.window_cache == "cells":
            shared = self.sequences if self.unified else 1
            wanted = min(self.tokens, mixer.window_tokens * shared + self.step_tokens)
            return -(-wanted // CELL_PADDING) * CELL_PADDING
        return min(self.tokens, mixer.window_tokens + self.held_beside_window)


class LayerCache(NamedTuple):
    """What one layer keeps for all sequences: keys and values, and recurrent states."""

    attention_bytes: int
    state_bytes: int


def mixer_cache(mixer: Mixer, plan: CachePlan, conv_values: int = 0, kernel_columns: int = 1) -> LayerCache:
    """Bytes that one mixer keeps for all sequences of a plan, whole, on one device.

    Keys and values are rows of their own (`kv_heads * head_dim` values each), the MLA latent is one row; the indexer of
    sparse attention caches its keys for the whole context, in the same format or in fp8 with scales.
    `conv_values` of a state are a convolution's, `kernel_columns` columns of them.
    """
    token_bytes = 0
    if plan.expands_latent and mixer.latent_elements:
        token_bytes = plan.k_format.row_bytes(mixer.heads * mixer.qk_head_dim)
        token_bytes += plan.v_format.row_bytes(mixer.heads * mixer.v_head_dim)
    elif not mixer.shares_kv and mixer.latent_elements:
        token_bytes = plan.k_format.row_bytes(mixer.latent_elements)
    elif not mixer.shares_kv:
        token_bytes = plan.k_format.row_bytes(mixer.kv_heads * mixer.qk_head_dim)
        token_bytes += plan.v_format.row_bytes(mixer.kv_heads * mixer.v_head_dim)
    entries = -(-plan.layer_tokens(mixer) // mixer.compression_tokens)
    kept = token_bytes * entries
    if mixer.indexer_elements:
        indexer = SCALED_FP8 if plan.scales_indexer else plan.k_format
        kept += indexer.row_bytes(mixer.indexer_elements) * plan.tokens
    conv_values = min(conv_values, mixer.state_elements)
    dropped = conv_values // kernel_columns if plan.drops_conv_column else 0
    state = (mixer.state_elements - conv_values) * plan.state_bytes + (conv_values - dropped) * plan.conv_bytes
    return LayerCache(kept * plan.streams * plan.copies, state * plan.sequences * plan.copies)


@lru_cache(maxsize=128)
def convolutions(architecture: Architecture) -> dict[int, tuple[int, int]]:
    """By layer: values of its convolution's state and the columns of its kernel."""
    found = {}
    for tensor in architecture.tensors:
        if tensor.role is Role.CONV and tensor.layers and not tensor.checkpoint_only and len(tensor.shape) > 1:
            columns = tensor.shape[-1]
            for layer in tensor.layers:
                found[layer] = (tensor.elements, columns)
    return found


class LayerKinds(NamedTuple):
    """Layers that keep alike: one of each kind, how many there are, and which kind each layer is."""

    layers: tuple[Layer, ...]
    counts: tuple[int, ...]
    kind_of: tuple[int, ...]


@lru_cache(maxsize=128)
def layer_kinds(architecture: Architecture) -> LayerKinds:
    """The kinds of an architecture's layers, by their mixers and convolutions."""
    numbers: dict[tuple[tuple[Mixer, ...], tuple[int, int]], int] = {}
    layers: list[Layer] = []
    kind_of = []
    for layer in architecture.layers:
        key = (layer.mixers, convolutions(architecture).get(layer.index, (0, 1)))
        if key not in numbers:
            numbers[key] = len(layers)
            layers.append(layer)
        kind_of.append(numbers[key])
    return LayerKinds(tuple(layers), tuple(kind_of.count(number) for number in range(len(layers))), tuple(kind_of))


@lru_cache(maxsize=512)
def cache_by_kind(architecture: Architecture, plan: CachePlan) -> tuple[LayerCache, ...]:
    """What a layer of each kind keeps, its mixers together."""
    found = []
    for layer in layer_kinds(architecture).layers:
        values, columns = convolutions(architecture).get(layer.index, (0, 1))
        parts = [
            mixer_cache(mixer, plan, values if mixer.kind in STATE_KINDS else 0, columns) for mixer in layer.mixers
        ]
        found.append(LayerCache(sum(part.attention_bytes for part in parts), sum(part.state_bytes for part in parts)))
    return tuple(found)


def cache_by_layer(architecture: Architecture, plan: CachePlan) -> list[LayerCache]:
    """What each layer keeps."""
    kinds = cache_by_kind(architecture, plan)
    return [kinds[number] for number in layer_kinds(architecture).kind_of]


def whole_cache(architecture: Architecture, plan: CachePlan) -> LayerCache:
    """What all layers keep together."""
    counted = list(zip(cache_by_kind(architecture, plan), layer_kinds(architecture).counts, strict=True))
    return LayerCache(
        sum(kind.attention_bytes * count for kind, count in counted),
        sum(kind.state_bytes * count for kind, count in counted),
    )


def sequence_cache(architecture: Architecture, tokens: int, kv_format: CacheFormat, state_bytes: int = 2) -> LayerCache:
    """What one sequence of `tokens` tokens keeps, where nothing is padded and windows keep no more than they show."""
    plan = CachePlan(1, 1, tokens, 0, kv_format, kv_format, "window", state_bytes, state_bytes, drops_conv_column=False)
    return whole_cache(architecture, plan)
