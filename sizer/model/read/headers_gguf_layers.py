"""The mixers of a GGUF file's layers: which kind its tensors show, and which sizes its metadata gives.

Cache and state sizes are those of llama.cpp (`llama_hparams::n_embd_k_gqa`, `n_embd_r`, `n_embd_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sizer.model.architecture import Mixer, MixerKind
from sizer.model.read.headers import invalid

Shapes = Mapping[str, tuple[int, ...]]

_MAX_SIZE = 2**32
"""No size of a model has more than 32 bits: a larger one is damaged."""
_ATTENTION = frozenset({"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_q_a", "attn_q_b", "attn_kv_a_mqa"})
_DELTA_NET = frozenset({"ssm_ba", "ssm_beta", "ssm_alpha"})


class Metadata:
    """Checked access to the key-value pairs of one file: `{architecture}.{key}`, one value or one a layer."""

    def __init__(self, pairs: Mapping[str, Any], model_id: str) -> None:
        self.pairs = pairs
        self.model_id = model_id
        self.architecture = self.text("general.architecture", "")
        if not self.architecture:
            raise invalid(model_id, "general.architecture is missing")

    def text(self, key: str, default: str) -> str:
        """A string under the full key."""
        value = self.pairs.get(key, default)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise invalid(self.model_id, f"{key} is {str(value)[:40]!r}")
        return value

    def has(self, key: str) -> bool:
        """Whether the architecture's key is there."""
        return f"{self.architecture}.{key}" in self.pairs

    def size(
        self, key: str, layer: int | None = None, *, default: int | None = None, minimum: int = 0, scope: str = ""
    ) -> int:
        """A whole number of at least `minimum`; of a list the layer's entry. Missing without a default is an error."""
        name = f"{scope or self.architecture}.{key}"
        value = self.pairs.get(name)
        if isinstance(value, list):
            if not value or (layer or 0) >= len(value):
                raise invalid(self.model_id, f"{name} has {len(value)} entries, too few for its layers")
            value = value[layer or 0]
        if value is None:
            if default is None:
                raise invalid(self.model_id, f"{name} is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < _MAX_SIZE:
            raise invalid(self.model_id, f"{name} is {str(value)[:40]}, no whole number from {minimum}")
        return value

    def head_dim(self, key: str, layer: int) -> int:
        """The size of a head: the key's, else the width over the heads of the first layer."""
        heads = max(self.size("attention.head_count", 0), 1)
        return self.size(key, layer, default=self.size("embedding_length") // heads)

    def notes(self) -> tuple[str, ...]:
        """What the metadata leaves open."""
        notes = []
        if self.size("expert_count", default=0) and not self.size("expert_used_count", default=0):
            notes.append("the file does not say how many experts a token uses: all are counted as active")
        known = self.has("attention.sliding_window_pattern") or self.architecture in _windows()
        if self.has("attention.sliding_window") and not known:
            notes.append("the file declares a sliding window that llama.cpp does not use: sized as full attention")
        return tuple(notes)


@lru_cache(maxsize=1)
def _windows() -> dict[str, dict[str, str]]:
    """Which layers slide, for the architectures whose files leave it to llama.cpp's code."""
    from sizer.tables import read_rows

    return {row["architecture"]: row for row in read_rows("gguf_windows.csv")}


def _window(layer: int, meta: Metadata) -> tuple[MixerKind, int | None]:
    """Kind and window of an attention layer: the file's own pattern, else the architecture's."""
    row = _windows().get(meta.architecture, {})
    window = meta.size("attention.sliding_window", layer, default=int(row.get("window_tokens") or 0))
    pattern = meta.pairs.get(f"{meta.architecture}.attention.sliding_window_pattern")
    kind = MixerKind.CHUNKED if row.get("kind") == "chunked" else MixerKind.SLIDING
    if not window:
        return MixerKind.FULL, None
    if isinstance(pattern, list):
        if layer >= len(pattern):
            raise invalid(meta.model_id, f"sliding_window_pattern has {len(pattern)} entries, too few for its layers")
        slides = bool(pattern[layer])
    else:
        period = meta.size("attention.sliding_window_pattern", default=int(row.get("period") or 1))
        dense_first = bool(row.get("dense_first"))
        place = layer % period if period else 0
        slides = not period or (place != 0 if dense_first else place < period - 1)
    return (kind, window) if slides else (MixerKind.FULL, None)


def layer_mixers(layer: int, shapes: Shapes, meta: Metadata) -> tuple[Mixer, ...]:
    """What mixes tokens in a layer, told by the tensors that it has: shapes by GGUF name (`attn_k`)."""
    names = shapes.keys()
    if any(name.startswith("time_mix") for name in names):
        width, head = meta.size("embedding_length"), meta.size("wkv.head_size", minimum=1)
        state = meta.size("token_shift_count", default=2) * width + width * head
        return (Mixer(MixerKind.RECURRENT, heads=width // head, state_elements=state),)
    if "ssm_conv1d_q" in names:
        heads, head = meta.size("attention.head_count", layer), meta.size("kda.head_dim", minimum=1)
        convolution = 3 * meta.size("ssm.conv_kernel") * heads * head
        return (Mixer(MixerKind.LINEAR, heads=heads, state_elements=convolution + head * head * heads),)
    mixers = []
    delta_net = "ssm_conv1d" in names and bool(names & _DELTA_NET)
    if "ssm_conv1d" in names:
        mixers.append(_ssm(meta, MixerKind.LINEAR if delta_net else MixerKind.SSM))
    if "shortconv.conv" in names:
        state = meta.size("embedding_length") * meta.size("shortconv.l_cache")
        mixers.append(Mixer(MixerKind.CONV, state_elements=state))
    if names & _ATTENTION and not delta_net:
        mixers.append(_attention(layer, shapes, meta))
    if "cross_attn_k" in names:
        mixers.append(_plain_attention(layer, {"attn_k": shapes["cross_attn_k"]}, meta, (MixerKind.CROSS, None)))
    return tuple(mixers)


def _ssm(meta: Metadata, kind: MixerKind) -> Mixer:
    """Mamba's state, or a delta net's: the recurrent state and the convolution's last inputs."""
    inner, state = meta.size("ssm.inner_size"), meta.size("ssm.state_size")
    channels = inner + 2 * meta.size("ssm.group_count", default=0) * state
    convolution = meta.size("ssm.conv_kernel") * channels
    return Mixer(kind, heads=meta.size("ssm.time_step_rank", default=0), state_elements=state * inner + convolution)


def _attention(layer: int, shapes: Shapes, meta: Metadata) -> Mixer:
    if "attn_kv_a_mqa" in shapes and ("attn_k_b" in shapes or meta.has("attention.key_length_mla")):
        latent = meta.size("attention.kv_lora_rank", minimum=1) + meta.size("rope.dimension_count", minimum=1)
        return Mixer(
            MixerKind.MLA,
            heads=meta.size("attention.head_count", layer),
            kv_heads=1,
            qk_head_dim=meta.size("attention.key_length_mla", default=meta.head_dim("attention.key_length", layer)),
            v_head_dim=meta.size("attention.value_length_mla", default=meta.head_dim("attention.value_length", layer)),
            latent_elements=latent,
            selected_tokens=meta.size("attention.indexer.top_k", default=0) or None,
            indexer_elements=meta.size("attention.indexer.key_length", default=0),
        )
    return _plain_attention(layer, shapes, meta, _window(layer, meta))


def _plain_attention(layer: int, shapes: Shapes, meta: Metadata, seen: tuple[MixerKind, int | None]) -> Mixer:
    """Attention with keys and values in the cache; the last layers of some models read an earlier layer's."""
    kind, window = seen
    heads = meta.size("attention.head_count", layer, minimum=1)
    kv_heads = meta.size("attention.head_count_kv", layer, default=heads)
    swa = "_swa" if window is not None and meta.has("attention.key_length_swa") else ""
    row = _windows().get(meta.architecture, {})
    own_kv = meta.size("block_count") - meta.size("attention.shared_kv_layers", default=0)
    if not meta.has("attention.shared_kv_layers") and row.get("kv_layers"):
        own_kv = int(row["kv_layers"])
    sizes = {}
    for name, key in (("attn_k", "attention.key_length"), ("attn_v", "attention.value_length")):
        sizes[name] = meta.head_dim(f"{key}{swa}", layer)
        rows = shapes[name][0] if name in shapes else kv_heads * sizes[name]
        if rows != kv_heads * sizes[name]:
            raise invalid(meta.model_id, f"{name} of layer {layer} has {rows} rows, not {kv_heads} x {sizes[name]}")
    return Mixer(
        kind,
        heads=heads,
        kv_heads=kv_heads,
        qk_head_dim=sizes["attn_k"],
        v_head_dim=sizes["attn_v"],
        window_tokens=window,
        shares_kv=layer >= own_kv,
    )
