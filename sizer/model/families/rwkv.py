"""RWKV 4 to 7."""

from __future__ import annotations

from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import DENSE
from sizer.model.blocks.ssm import rwkv4_attention
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family


def _blocks(config: Config, hidden: int, block: Block) -> Parts:
    """A model of these blocks, each with its two norms; the first norms the embedding too."""
    block += norm("ln1", hidden, True) + norm("ln2", hidden, True)
    first = norm("pre_ln", hidden, True) + block
    return causal_lm(
        config,
        [first] + [block] * (config.layers() - 1),
        Naming(prefix="rwkv.", layers="blocks.{layer}.", embed="embeddings", final_norm="ln_out", head="head"),
        norm_bias=True,
    )


def rwkv(config: Config) -> Parts:
    """RWKV-4: time mixing and channel mixing."""
    hidden = config.size("hidden_size")
    inner = config.size("intermediate_size", default=4 * hidden)
    block = rwkv4_attention(hidden, config.size("attention_hidden_size", default=hidden)) + DENSE
    for name in ("key", "receptance"):
        block += parameter(f"feed_forward.time_mix_{name}", 1, 1, hidden, role=Role.SSM)
    block += linear("feed_forward.key", inner, hidden, Role.UP)
    block += linear("feed_forward.receptance", hidden, hidden, Role.GATE)
    block += linear("feed_forward.value", hidden, inner, Role.DOWN)
    return _blocks(config, hidden, block)


# RWKV-6's code widens its two low ranks from this hidden size on (RWKV-LM, RWKV_Tmix_x060).
WIDE_HIDDEN = 4096
NARROW_RANKS, WIDE_RANKS = (32, 64), (64, 128)


def _vectors(prefix: str, names: str, size: int) -> Block:
    """Learned mixing weights, one for each channel."""
    return sum((parameter(f"{prefix}{name}", 1, 1, size, role=Role.SSM) for name in names.split()), Block())


def _state(hidden: int, inner: int, size: int) -> Block:
    return Block(mixers=(Mixer(MixerKind.RECURRENT, inner // size, state_elements=inner * size + 2 * hidden),))


def _head_sizes(config: Config) -> tuple[int, int, int]:
    """Hidden size, the width of all heads, and a head's size."""
    hidden = config.size("hidden_size")
    inner, size = config.size("attention_hidden_size", default=hidden), config.size("head_size", default=64)
    if inner % size:
        raise config.error("head_size", f"It must divide attention_hidden_size ({inner}).")
    return hidden, inner, size


def _decay5(hidden: int, inner: int, size: int) -> Block:
    """RWKV-5: a fixed decay and bonus for each channel of each head."""
    block = _vectors("attention.", "time_mix_key time_mix_value time_mix_receptance time_mix_gate", hidden)
    for name in ("time_decay", "time_faaaa"):
        block += parameter(f"attention.{name}", inner // size, size, role=Role.SSM)
    return block + _vectors("feed_forward.", "time_mix_key time_mix_receptance", hidden)


def _decay6(hidden: int, inner: int, size: int) -> Block:
    """RWKV-6: mixing and decay depend on the token, each through a low rank."""
    mix, decay = WIDE_RANKS if hidden >= WIDE_HIDDEN else NARROW_RANKS
    names = "time_maa_x time_maa_w time_maa_k time_maa_v time_maa_r time_maa_g"
    block = _vectors("attention.", names, hidden) + _vectors("attention.", "time_decay", inner)
    block += parameter("attention.time_maa_w1", hidden, 5 * mix, role=Role.SSM)
    block += parameter("attention.time_maa_w2", 5, mix, hidden, role=Role.SSM)
    block += parameter("attention.time_decay_w1", hidden, decay, role=Role.SSM)
    block += parameter("attention.time_decay_w2", decay, inner, role=Role.SSM)
    block += parameter("attention.time_faaaa", inner // size, size, role=Role.SSM)
    return block + _vectors("feed_forward.", "time_maa_k time_maa_r", hidden)


def _rwkv(config: Config, version: int) -> Parts:
    hidden, inner, size = _head_sizes(config)
    # As the code of the repositories: 3.5 times the hidden size, down to a multiple of 32.
    mlp = config.size("intermediate_size", default=int(hidden * 3.5) // 32 * 32)
    block = (_decay5 if version == 5 else _decay6)(hidden, inner, size) + _state(hidden, inner, size) + DENSE
    for name, role in (("receptance", Role.Q), ("key", Role.K), ("value", Role.V), ("gate", Role.GATE)):
        block += linear(f"attention.{name}", inner, hidden, role)
    block += linear("attention.output", hidden, inner, Role.O) + norm("attention.ln_x", inner, True)
    block += linear("feed_forward.key", mlp, hidden, Role.UP) + linear("feed_forward.value", hidden, mlp, Role.DOWN)
    block += linear("feed_forward.receptance", hidden, hidden, Role.GATE)
    return _blocks(config, hidden, block)


def _low_rank(name: str, rank: int, hidden: int, bias: bool) -> Block:
    down = linear(f"attn.{name}.lora.0", rank, hidden, Role.SSM)
    return down + linear(f"attn.{name}.lora.2", hidden, rank, Role.SSM, bias)


def rwkv7(config: Config) -> Parts:
    """RWKV-7 as flash-linear-attention ships it: low-rank decay, learning rate, value mix and gate."""
    hidden, size = config.size("hidden_size"), config.size("head_dim", default=64)
    if hidden % size:
        raise config.error("head_dim", f"It must divide hidden_size ({hidden}).")
    mlp = config.size("intermediate_size", default=-(-config.scaled(hidden, "hidden_ratio", default=4.0) // 32) * 32)
    bias = config.flag("norm_bias", default=True)
    block = _vectors("attn.", "x_r x_w x_k x_v x_a x_g", hidden) + _state(hidden, hidden, size) + DENSE
    block += parameter("attn.k_k", hidden, role=Role.SSM) + parameter("attn.k_a", hidden, role=Role.SSM)
    block += parameter("attn.r_k", hidden // size, size, role=Role.SSM)
    for name, role in (("r_proj", Role.Q), ("k_proj", Role.K), ("v_proj", Role.V), ("o_proj", Role.O)):
        block += linear(f"attn.{name}", hidden, hidden, role)
    block += _low_rank("w_lora", config.size("decay_low_rank_dim"), hidden, True)
    block += _low_rank("a_lora", config.size("a_low_rank_dim"), hidden, True)
    block += _low_rank("g_lora", config.size("gate_low_rank_dim"), hidden, False)
    block += norm("attn.g_norm", hidden, True) + norm("attn_norm", hidden, bias) + norm("ffn_norm", hidden, bias)
    block += parameter("ffn.x_k", hidden, role=Role.SSM)
    block += linear("ffn.key", mlp, hidden, Role.UP) + linear("ffn.value", hidden, mlp, Role.DOWN)
    first = norm("pre_norm", hidden, bias) + block if config.flag("norm_first", default=True) else block
    later = block + _low_rank("v_lora", config.size("v_low_rank_dim"), hidden, True)
    layers = [first] + [later] * (config.layers() - 1)
    return causal_lm(config, layers, Naming(embed="embeddings"), norm_bias=bias)


FAMILIES: dict[str, Family] = {
    "rwkv": rwkv,
    "rwkv5": lambda config: _rwkv(config, 5),
    "rwkv6": lambda config: _rwkv(config, 6),
    "rwkv7": rwkv7,
}
