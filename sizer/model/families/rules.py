"""Rules: what a config says of each layer, as one Block a layer. Families are made of them.

A rule is a frozen record called with (config, layers). Layers that do not differ get the same Block object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sizer.model.architecture import MixerKind
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block
from sizer.model.blocks.mlp import fused_mlp, gated_mlp, plain_mlp
from sizer.model.config import Config

LayerRule = Callable[[Config, int], Sequence[Block]]
Window = tuple[MixerKind, int | None]
FULL: Window = (MixerKind.FULL, None)

Flag = bool | str
"""True, False, or the name of the config field that says which."""


def flag(config: Config, value: Flag) -> bool:
    """What a Flag means for this config."""
    return config.flag(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Heads:
    """Attention sizes of a config, checked against each other."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int


def heads(config: Config, *, head_dim_field: bool = True, kv_field: bool = True) -> Heads:
    """Hidden size, heads, KV heads (missing: as many as heads) and head size (missing: hidden / heads)."""
    hidden, count = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = (config.optional_size("num_key_value_heads") if kv_field else None) or count
    if count % kv_heads:
        raise config.error("num_key_value_heads", f"It must divide num_attention_heads ({count}).")
    head_dim = config.optional_size("head_dim") if head_dim_field else None
    if head_dim is None:
        if hidden % count:
            raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
        head_dim = hidden // count
    return Heads(hidden, count, kv_heads, head_dim)


def window_of(config: Config, name: str, window: int | None) -> Window:
    """Mixer kind and window of one entry of `layer_types`."""
    if name == "sliding_attention" and window is not None:
        return MixerKind.SLIDING, window
    if name == "chunked_attention":
        return MixerKind.CHUNKED, config.size("attention_chunk_size")
    if name in ("full_attention", "sliding_attention"):
        return FULL
    raise config.error("layer_types", f"{name!r} is no attention layer of this family.")


def no_windows(_config: Config, count: int) -> Sequence[Window]:
    """Full attention on every layer."""
    return (FULL,) * count


def one_window(config: Config, count: int) -> Sequence[Window]:
    """`sliding_window` on every layer (Mistral), whatever `layer_types` says."""
    window = config.optional_size("sliding_window")
    return (FULL if window is None else (MixerKind.SLIDING, window),) * count


def typed_windows(config: Config, count: int) -> Sequence[Window]:
    """`layer_types` where it is given; else full attention on every layer."""
    window = config.optional_size("sliding_window")
    return tuple(window_of(config, name, window) for name in config.layer_types(count) or ("full_attention",) * count)


@dataclass(frozen=True)
class EveryNth:
    """`layer_types` where it is given; else sliding on all layers but every nth, n from `field` or `every`.

    `last_full` counts from one (layers n, 2n … are full, Gemma 3); else from nought (layers 0, n … are full).
    """

    every: int
    field: str = "sliding_window_pattern"
    last_full: bool = True

    def __call__(self, config: Config, count: int) -> Sequence[Window]:
        window = config.optional_size("sliding_window")
        types = config.layer_types(count)
        if types is None:
            every = config.size(self.field, default=self.every)
            shift = 1 if self.last_full else 0
            types = tuple("sliding_attention" if (i + shift) % every else "full_attention" for i in range(count))
        return tuple(window_of(config, name, window) for name in types)


@dataclass(frozen=True)
class Attention:
    """Separate q, k, v, o projections. `bias` is that of q, k and v, `o_bias` that of o.

    `qk_norm` is `head` (norms of a head's size), `width` (norms over all heads) or None.
    """

    bias: Flag = "attention_bias"
    o_bias: Flag = "attention_bias"
    qk_norm: str | None = None
    qk_names: tuple[str, str] = ("q_norm", "k_norm")
    norm_bias: bool = False
    sinks: bool = False
    head_dim_field: bool = True
    names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    prefix: str = "self_attn."
    windows: Callable[[Config, int], Sequence[Window]] = no_windows

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        windows = self.windows(config, count)
        blocks = {window: self.block(config, *window) for window in dict.fromkeys(windows)}
        return [blocks[window] for window in windows]

    def block(self, config: Config, kind: MixerKind, window: int | None) -> Block:
        """The attention of a layer with this window."""
        sizes = heads(config, head_dim_field=self.head_dim_field)
        norms: tuple[tuple[str, int], ...] = ()
        if self.qk_norm == "head":
            norms = tuple((name, sizes.head_dim) for name in self.qk_names)
        elif self.qk_norm == "width":
            widths = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim)
            norms = tuple(zip(self.qk_names, widths, strict=True))
        return attention(
            sizes.hidden,
            sizes.heads,
            sizes.kv_heads,
            sizes.head_dim,
            prefix=self.prefix,
            names=self.names,
            bias=flag(config, self.bias),
            o_bias=flag(config, self.o_bias),
            norms=norms,
            norm_bias=self.norm_bias,
            sinks=self.sinks,
            kind=kind,
            window=window,
        )


@dataclass(frozen=True)
class Mlp:
    """The same dense MLP on every layer: `gated` (gate, up, down), `fused` (gate_up, down) or `plain` (up, down)."""

    shape: str = "gated"
    bias: Flag = "mlp_bias"
    names: tuple[str, ...] | None = None
    prefix: str = "mlp."
    size: str = "intermediate_size"

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        return (self.block(config, config.size(self.size)),) * count

    def block(self, config: Config, inner: int) -> Block:
        """One MLP of `inner` rows."""
        make, names = {
            "gated": (gated_mlp, ("gate_proj", "up_proj", "down_proj")),
            "fused": (fused_mlp, ("gate_up_proj", "down_proj")),
            "plain": (plain_mlp, ("up_proj", "down_proj")),
        }[self.shape]
        bias = flag(config, self.bias)
        return make(config.size("hidden_size"), inner, prefix=self.prefix, names=self.names or names, bias=bias)
