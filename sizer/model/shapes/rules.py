"""Rules: what a config says of each layer, as one Block a layer. Families are made of them.

A rule is a frozen record called with (config, layers). Layers that do not differ get the same Block object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sizer.frozen import dataclass
from sizer.model.architecture import Module, Role
from sizer.model.blocks.attention import Heads, attention, fused_attention, head_norms, sinks
from sizer.model.blocks.core import Block, linear, norm
from sizer.model.blocks.mlp import fused_mlp, gated_mlp, plain_mlp
from sizer.model.config import MAX_COUNT, Config
from sizer.model.shapes.windows import Window, WindowRule, no_windows


def one_each(config: Config, name: str, count: int, value: Any) -> tuple[Any, ...]:
    """`value` as a tuple of one entry for each layer; else the error names the field."""
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise config.error(name, f"It must have one entry for each of {count} layers.")
    return tuple(value)


LayerRule = Callable[[Config, int], Sequence[Block]]
Flag = bool | str
"""True, False, or the name of the config field that says which."""


def flag(config: Config, value: Flag) -> bool:
    """What a Flag means for this config."""
    return config.flag(value) if isinstance(value, str) else value


def heads(config: Config, *, head_dim_field: bool = True, kv_field: bool = True, floor: bool = False) -> Heads:
    """Hidden size, heads, KV heads (missing: as many as heads) and head size (missing: hidden / heads).

    Heads that do not divide the hidden size are an error where the head size hangs on it, unless `floor`.
    """
    hidden, count = config.size("hidden_size"), config.size("num_attention_heads", maximum=MAX_COUNT)
    kv_heads = (config.optional_size("num_key_value_heads") if kv_field else None) or count
    if count % kv_heads:
        raise config.error("num_key_value_heads", f"It must divide num_attention_heads ({count}).")
    head_dim = config.optional_size("head_dim") if head_dim_field else None
    if head_dim is None:
        if hidden % count and not floor:
            raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
        head_dim = hidden // count
    return Heads(hidden, count, kv_heads, head_dim)


def head_size(config: Config, hidden: int, count: int) -> int:
    """hidden / heads, where heads must divide it."""
    if hidden % count:
        raise config.error("num_attention_heads", f"It must divide the hidden size ({hidden}).")
    return hidden // count


def _by_window(windows: Sequence[Window], block: Callable[[Window], Block]) -> list[Block]:
    """One Block a layer, the same object for layers of one window."""
    blocks = {window: block(window) for window in dict.fromkeys(windows)}
    return [blocks[window] for window in windows]


def _biases(config: Config, bias: Flag, o_bias: Flag | None) -> tuple[bool, bool]:
    """Whether q, k and v have a bias, and the output (not said: as they have)."""
    said = flag(config, bias)
    return said, said if o_bias is None else flag(config, o_bias)


@dataclass(frozen=True)
class Attention:
    """Separate q, k, v, o projections. `bias` is that of q, k and v, `o_bias` that of o (None: the same).

    `qk_norm` is `head` (norms of a head's size), `width` (norms over all heads) or None; `norm_if` names the field
    that switches them. `plus` gives what else the module holds. With `plain_heads`, head_dim is hidden / heads.
    """

    bias: Flag = "attention_bias"
    o_bias: Flag | None = None
    qk_norm: str | None = None
    qk_names: tuple[str, str] = ("q_norm", "k_norm")
    norm_if: Flag = True
    norm_bias: bool = False
    sinks: bool = False
    plain_heads: bool = False
    floor_heads: bool = False
    kv_field: bool = True
    names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    prefix: str = "self_attn."
    windows: WindowRule = no_windows
    plus: Callable[[Config, Heads], Block] | None = None

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        return _by_window(self.windows(config, count), lambda window: self.block(config, window))

    def block(self, config: Config, window: Window) -> Block:
        """The attention of a layer with this window."""
        sizes = heads(config, head_dim_field=not self.plain_heads, kv_field=self.kv_field, floor=self.floor_heads)
        bias, o_bias = _biases(config, self.bias, self.o_bias)
        block = attention(
            sizes,
            prefix=self.prefix,
            names=self.names,
            bias=bias,
            o_bias=o_bias,
            kind=window[0],
            window=window[1],
        )
        if flag(config, self.norm_if):
            block += head_norms(self.norms(sizes), prefix=self.prefix, bias=self.norm_bias)
        if self.sinks:
            block += sinks(sizes.heads, prefix=self.prefix)
        return block if self.plus is None else block + self.plus(config, sizes)

    def norms(self, sizes: Heads) -> tuple[tuple[str, int], ...]:
        """Names and sizes of the q and k norms."""
        if self.qk_norm is None:
            return ()
        q, k = self.qk_names
        if self.qk_norm == "head":
            return (q, sizes.head_dim), (k, sizes.head_dim)
        return (q, sizes.heads * sizes.head_dim), (k, sizes.kv_heads * sizes.head_dim)


@dataclass(frozen=True)
class FusedAttention:
    """q, k and v as one projection (`names[0]`), and the output projection. `kv_heads` overrides the config's field."""

    names: tuple[str, str] = ("query_key_value", "dense")
    prefix: str = "self_attn."
    bias: Flag = True
    o_bias: Flag | None = None
    plain_heads: bool = False
    kv_field: bool = True
    kv_heads: Callable[[Config, int], int] | None = None
    module: Module = Module.LINEAR
    windows: WindowRule = no_windows
    plus: Callable[[Config, Heads], Block] | None = None

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        return _by_window(self.windows(config, count), lambda window: self.block(config, window))

    def block(self, config: Config, window: Window) -> Block:
        """The attention of a layer with this window."""
        kv_field = self.kv_field and self.kv_heads is None
        sizes = heads(config, head_dim_field=not self.plain_heads, kv_field=kv_field)
        if self.kv_heads is not None:
            sizes = replace(sizes, kv_heads=self.kv_heads(config, sizes.heads))
        bias, o_bias = _biases(config, self.bias, self.o_bias)
        block = fused_attention(
            sizes,
            prefix=self.prefix,
            names=self.names,
            bias=bias,
            o_bias=o_bias,
            window=window[1],
            module=self.module,
        )
        return block if self.plus is None else block + self.plus(config, sizes)


@dataclass(frozen=True)
class Mlp:
    """The same dense MLP on every layer: `gated` (gate, up, down), `fused` (gate_up, down) or `plain` (up, down).

    `size` names the field of its rows; where that is null, and `factor` is given, they are `factor` times the hidden
    size. Without a `size` they always are.
    """

    shape: str = "gated"
    bias: Flag = "mlp_bias"
    names: tuple[str, ...] | None = None
    prefix: str = "mlp."
    size: str | None = "intermediate_size"
    factor: int | None = None
    module: Module = Module.LINEAR

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        default = None if self.factor is None else self.factor * config.size("hidden_size")
        inner = config.size(self.size, default=default) if self.size else default or 0
        return (self.block(config, inner),) * count

    def block(self, config: Config, inner: int) -> Block:
        """One MLP of `inner` rows."""
        hidden, bias = config.size("hidden_size"), flag(config, self.bias)
        if self.shape == "plain":
            names = self.names or ("up_proj", "down_proj")
            return plain_mlp(hidden, inner, prefix=self.prefix, names=names, bias=bias, module=self.module)
        if self.shape == "fused":
            names = self.names or ("gate_up_proj", "down_proj")
            return fused_mlp(hidden, inner, prefix=self.prefix, names=names, bias=bias)
        names = self.names or ("gate_proj", "up_proj", "down_proj")
        return gated_mlp(hidden, inner, prefix=self.prefix, names=names, bias=bias)


OUT_NAMES = ("q_proj", "k_proj", "v_proj", "out_proj")
UNBIASED, PLAIN, FUSED = Mlp(bias=False), Mlp("plain"), Mlp("fused", bias=False)
QK_HEADS = Attention(qk_norm="head")


def output_gate(_config: Config, sizes: Heads) -> Block:
    """A gate on the output of each head's dimension."""
    return linear("self_attn.gate_proj", sizes.heads * sizes.head_dim, sizes.hidden, Role.GATE)


def switched_layer_norms(config: Config, sizes: Heads) -> Block:
    """LayerNorms of a head's size on queries and keys, if `qk_layernorm` (Phi, Persimmon)."""
    if not config.flag("qk_layernorm"):
        return Block()
    size = sizes.hidden // sizes.heads
    return norm("self_attn.q_layernorm", size, True) + norm("self_attn.k_layernorm", size, True)
