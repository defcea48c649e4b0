"""Linear attention: gated delta rules and lightning attention, with the state that each keeps for a sequence."""

from __future__ import annotations

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.core import Block, linear, norm, parameter
from sizer.model.blocks.ssm import causal_conv


@dataclass(frozen=True)
class DeltaSizes:
    """Sizes of a gated delta net: key and value heads, their head sizes, and the convolution's kernel."""

    hidden: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int

    @property
    def keys(self) -> int:
        """Width of all key heads (and of all query heads)."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Width of all value heads."""
        return self.value_heads * self.value_dim

    @property
    def conv(self) -> int:
        """Width of the convolution over queries, keys and values."""
        return 2 * self.keys + self.values

    def mixer(self) -> Block:
        """The mixer: the convolution's inputs and a [key_dim, value_dim] matrix for each value head."""
        elements = self.conv * self.kernel + self.value_heads * self.key_dim * self.value_dim
        kind = MixerKind.LINEAR
        return Block(mixers=(Mixer(kind, self.value_heads, 0, self.key_dim, self.value_dim, state_elements=elements),))


def gated_delta(sizes: DeltaSizes, projections: str, *, prefix: str = "linear_attn.") -> Block:
    """A gated delta net (arXiv:2412.06464). `projections` says how the inputs are stored:

    `fused` (Qwen3-Next: q, k, v, z together and b, a together), `split` (Qwen3.5: qkv, z, b and a) or `apart`
    (OLMo hybrid: q, k, v, a, b, g; its output is `o_proj` and its norm `o_norm`).
    """
    hidden, heads = sizes.hidden, sizes.value_heads
    rows = {
        "fused": (
            ("in_proj_qkvz", sizes.conv + sizes.values, Role.SSM_IN),
            ("in_proj_ba", 2 * heads, Role.SSM),
        ),
        "split": (
            ("in_proj_qkv", sizes.conv, Role.QKV),
            ("in_proj_z", sizes.values, Role.SSM_IN),
            ("in_proj_b", heads, Role.SSM),
            ("in_proj_a", heads, Role.SSM),
        ),
        "apart": (
            ("q_proj", sizes.keys, Role.Q),
            ("k_proj", sizes.keys, Role.K),
            ("v_proj", sizes.values, Role.V),
            ("a_proj", heads, Role.SSM),
            ("b_proj", heads, Role.SSM),
            ("g_proj", sizes.values, Role.SSM_IN),
        ),
    }[projections]
    output, norm_name = ("o_proj", "o_norm") if projections == "apart" else ("out_proj", "norm")
    block = Block()
    for name, out, role in rows:
        block += linear(prefix + name, out, hidden, role)
    block += causal_conv(prefix + "conv1d", sizes.conv, sizes.kernel)
    block += parameter(prefix + "dt_bias", heads, role=Role.SSM)
    block += parameter(prefix + "A_log", heads, role=Role.SSM)
    block += norm(prefix + norm_name, sizes.value_dim)
    return block + linear(prefix + output, hidden, sizes.values, Role.SSM_OUT) + sizes.mixer()


def kimi_delta(
    hidden: int,
    heads: int,
    head_dim: int,
    kernel: int,
    *,
    low_rank: bool,
    decay: tuple[int, ...] = (),
    prefix: str = "self_attn.",
) -> Block:
    """Kimi delta attention (arXiv:2510.26692): a gate for each channel.

    `low_rank` gates go through a head's size (Kimi Linear), else straight (Bailing hybrid). `decay` is the shape that
    the decay of the heads is kept in, where it is not [heads].
    """
    sizes = DeltaSizes(hidden, heads, heads, head_dim, head_dim, kernel)
    width = heads * head_dim
    block = Block()
    for name, role in (("q_proj", Role.Q), ("k_proj", Role.K), ("v_proj", Role.V)):
        block += linear(prefix + name, width, hidden, role)
    block += causal_conv(prefix + "conv1d", sizes.conv, kernel)
    block += parameter(prefix + "forget_gate.dt_bias", width, role=Role.SSM)
    block += parameter(prefix + "forget_gate.A_log", *(decay or (heads,)), role=Role.SSM)
    if low_rank:
        for gate in ("forget_gate.f", "g"):
            block += linear(f"{prefix}{gate}_a_proj", head_dim, hidden, Role.SSM)
            block += linear(f"{prefix}{gate}_b_proj", width, head_dim, Role.SSM)
    else:
        block += linear(prefix + "forget_gate.f_proj", width, hidden, Role.SSM)
        block += linear(prefix + "g_proj", width, hidden, Role.SSM)
    block += linear(prefix + "b_proj", heads, hidden, Role.SSM)
    block += norm(prefix + "o_norm", head_dim)
    return block + linear(prefix + "o_proj", hidden, width, Role.O) + sizes.mixer()


def lightning(hidden: int, heads: int, head_dim: int, *, prefix: str = "self_attn.") -> Block:
    """Lightning attention (arXiv:2401.04658) as in MiniMax-01: one square matrix for each head."""
    width = heads * head_dim
    elements = heads * head_dim * head_dim
    mixer = Mixer(MixerKind.LINEAR, heads, 0, head_dim, head_dim, state_elements=elements)
    return (
        norm(prefix + "norm", width)
        + linear(prefix + "qkv_proj", 3 * width, hidden, Role.QKV)
        + linear(prefix + "out_proj", hidden, width, Role.O)
        + linear(prefix + "output_gate", width, hidden, Role.GATE)
        + Block(mixers=(mixer,))
    )
