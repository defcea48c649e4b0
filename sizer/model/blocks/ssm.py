"""State-space, recurrent and convolution mixers: their tensors, and the state that each keeps for a sequence.

A state is counted as transformers' caches hold it: the last inputs of the causal convolution and the recurrent
state, whatever the context.
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.frozen import NamedTuple
from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.core import Block, linear, norm, parameter


def state(kind: MixerKind, elements: int, heads: int = 0, qk_head_dim: int = 0, v_head_dim: int = 0) -> Block:
    """The mixer of a layer that keeps `elements` values for a sequence."""
    return Block(mixers=(Mixer(kind, heads, 0, qk_head_dim, v_head_dim, state_elements=elements),))


def causal_conv(name: str, width: int, kernel: int, bias: bool = False) -> Block:
    """A depthwise causal convolution: weight [width, 1, kernel] and, where asked, its bias."""
    block = parameter(f"{name}.weight", width, 1, kernel, role=Role.CONV, module=Module.CONV)
    return block + parameter(f"{name}.bias", width, role=Role.BIAS, module=Module.CONV) if bias else block


class MambaSizes(NamedTuple):
    """Sizes of a Mamba: channels, states of each, inputs that its convolution sees, the rank of its step."""

    inner: int
    states: int
    kernel: int
    rank: int


class Mamba2Sizes(NamedTuple):
    """Sizes of a Mamba 2: heads, the channels of each, groups of B and C vectors, states, the convolution's inputs."""

    heads: int
    head_dim: int
    groups: int
    states: int
    kernel: int

    @property
    def inner(self) -> int:
        """Channels of all heads."""
        return self.heads * self.head_dim

    @property
    def width(self) -> int:
        """Channels that the convolution runs over: the heads' and the B and C vectors."""
        return self.inner + 2 * self.groups * self.states


def mamba(
    hidden: int,
    sizes: MambaSizes,
    *,
    prefix: str = "mixer.",
    conv_bias: bool = True,
    bias: bool = False,
    norms: bool = False,
) -> Block:
    """Mamba's selective state space (arXiv:2312.00752).

    `norms` are Jamba's norms of the step, input and output vectors. The cache holds `kernel` inputs and the state.
    """
    inner, states, kernel, rank = sizes
    block = (
        linear(prefix + "in_proj", 2 * inner, hidden, Role.SSM_IN, bias)
        + causal_conv(prefix + "conv1d", inner, kernel, conv_bias)
        + linear(prefix + "x_proj", rank + 2 * states, inner, Role.SSM)
        + linear(prefix + "dt_proj", inner, rank, Role.SSM, True)
        + parameter(prefix + "A_log", inner, states, role=Role.SSM)
        + parameter(prefix + "D", inner, role=Role.SSM)
        + linear(prefix + "out_proj", hidden, inner, Role.SSM_OUT, bias)
    )
    if norms:
        for name, size in (("dt", rank), ("b", states), ("c", states)):
            block += norm(f"{prefix}{name}_layernorm", size)
    return block + state(MixerKind.SSM, inner * (kernel + states))


def mamba2(
    hidden: int,
    sizes: Mamba2Sizes,
    *,
    prefix: str = "mixer.",
    conv_bias: bool = True,
    bias: bool = False,
    out_bias: bool | None = None,
    gated_norm: bool = True,
) -> Block:
    """Mamba 2's state-space duality (arXiv:2405.21060); the cache holds the convolution's inputs and the states."""
    inner, width = sizes.inner, sizes.width
    block = linear(prefix + "in_proj", inner + width + sizes.heads, hidden, Role.SSM_IN, bias)
    block += causal_conv(prefix + "conv1d", width, sizes.kernel, conv_bias)
    for name in ("dt_bias", "A_log", "D"):
        block += parameter(prefix + name, sizes.heads, role=Role.SSM)
    if gated_norm:
        block += norm(prefix + "norm", inner)
    block += linear(prefix + "out_proj", hidden, inner, Role.SSM_OUT, bias if out_bias is None else out_bias)
    return block + state(MixerKind.SSM, inner * sizes.states + width * sizes.kernel, sizes.heads)


def multi_head_mamba(
    hidden: int, sizes: MambaSizes, heads: int, *, prefix: str = "mamba.", conv_bias: bool = True, bias: bool = False
) -> Block:
    """Zamba's Mamba: the inner channels split over `heads`, each with projections of its own, kept as parameters."""
    inner, states, kernel, rank = sizes
    head_dim = inner // heads
    block = linear(prefix + "in_proj", 2 * inner, hidden, Role.SSM_IN, bias)
    block += causal_conv(prefix + "conv1d", inner, kernel, conv_bias)
    for name, shape in (
        ("x_proj_weight", (heads, rank + 2 * states, head_dim)),
        ("dt_proj_weight", (heads, head_dim, rank)),
        ("dt_proj_bias", (heads, head_dim)),
        ("A_log", (heads, head_dim, states)),
        ("D", (heads, head_dim)),
    ):
        block += parameter(prefix + name, *shape, role=Role.SSM)
    block += linear(prefix + "out_proj", hidden, inner, Role.SSM_OUT, bias)
    return block + state(MixerKind.SSM, inner * (kernel + states), heads)


def short_conv(hidden: int, kernel: int, *, prefix: str = "conv.", bias: bool = False) -> Block:
    """LFM2's gated short convolution: the cache holds the last `kernel` inputs."""
    return (
        causal_conv(prefix + "conv", hidden, kernel, bias)
        + linear(prefix + "in_proj", 3 * hidden, hidden, Role.SSM_IN, bias)
        + linear(prefix + "out_proj", hidden, hidden, Role.SSM_OUT, bias)
        + state(MixerKind.CONV, hidden * kernel)
    )


def rg_lru(hidden: int, width: int, heads: int, kernel: int, *, prefix: str = "temporal_block.") -> Block:
    """Griffin's recurrent block (arXiv:2402.19427): two branches, a short convolution and the gated linear recurrence.

    The gates are block-diagonal over `heads`. The cache holds `kernel - 1` inputs and one state for each channel.
    """
    block_width = width // heads
    block = Block()
    for name in ("linear_y", "linear_x"):
        block += linear(prefix + name, width, hidden, Role.SSM_IN, True)
    block += linear(prefix + "linear_out", hidden, width, Role.SSM_OUT, True)
    block += causal_conv(prefix + "conv_1d", width, kernel, True)
    block += parameter(prefix + "rg_lru.recurrent_param", width, role=Role.SSM)
    for gate in ("input_gate", "recurrent_gate"):
        block += parameter(f"{prefix}rg_lru.{gate}_weight", heads, block_width, block_width, role=Role.SSM)
        block += parameter(f"{prefix}rg_lru.{gate}_bias", heads, block_width, role=Role.SSM)
    return block + state(MixerKind.RECURRENT, width * kernel, heads)


def rwkv4_attention(hidden: int, inner: int, *, prefix: str = "attention.") -> Block:
    """RWKV-4's time mixing (arXiv:2305.13048); the state: numerator, denominator, maximum and the last two inputs.

    One of the two inputs is the channel mixing's, which shifts tokens too.
    """
    block = Block()
    for name in ("time_decay", "time_first"):
        block += parameter(prefix + name, inner, role=Role.SSM)
    for name in ("key", "value", "receptance"):
        block += parameter(f"{prefix}time_mix_{name}", 1, 1, hidden, role=Role.SSM)
    for name, role in (("key", Role.K), ("value", Role.V), ("receptance", Role.Q)):
        block += linear(prefix + name, inner, hidden, role)
    block += linear(prefix + "output", hidden, inner, Role.O)
    return block + state(MixerKind.RECURRENT, 3 * inner + 2 * hidden)


def mlstm(
    hidden: int, heads: int, qk_dim: int, v_dim: int, *, prefix: str = "mlstm_layer.", bias: bool = False,
    fused: bool = False,
) -> Block:  # fmt: skip
    """xLSTM's matrix memory (arXiv:2405.04517): a matrix, a normalizer and a maximum for each head."""
    if fused:
        block = linear(prefix + "qkv_opreact", 2 * qk_dim + 2 * v_dim, hidden, Role.QKV, bias)
        block += linear(prefix + "ifgate_preact", 2 * heads, hidden, Role.SSM, True)
    else:
        block = Block()
        rows: Sequence[tuple[str, int, Role, bool]] = (
            ("q", qk_dim, Role.Q, bias),
            ("k", qk_dim, Role.K, bias),
            ("v", v_dim, Role.V, bias),
            ("ogate_preact", v_dim, Role.SSM, bias),
            ("igate_preact", heads, Role.SSM, True),
            ("fgate_preact", heads, Role.SSM, True),
        )
        for name, out, role, biased in rows:
            block += linear(prefix + name, out, hidden, role, biased)
    qk_head, v_head = qk_dim // heads, v_dim // heads
    block += norm(prefix + "multihead_norm", heads * v_head, bias)
    block += linear(prefix + "out_proj", hidden, v_dim, Role.O, bias)
    elements = heads * (qk_head * v_head + qk_head + 1)
    return block + state(MixerKind.RECURRENT, elements, heads, qk_head, v_head)
