"""xAI: Grok-1, Grok-2."""

from __future__ import annotations

from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import Decoder, causal_lm
from sizer.model.shapes.experts import Moe, shared_mlp
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import Attention, heads


def grok1(config: Config) -> Parts:
    """Grok-1: experts on every layer, a norm before and after each half of it."""
    sizes, count = heads(config), config.layers()
    block = attention(sizes, prefix="attn.")
    moe = Moe("num_experts", inner="intermediate_size", prefix="moe_block.", names=("linear_v", "linear", "linear_1"))
    layer = block + moe.block(config)
    for name in ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"):
        layer += norm(name, sizes.hidden)
    return causal_lm(config, [layer] * count)


def _residual_mlp(config: Config, _experts: int) -> Block:
    """Grok-2's dense MLP beside the experts, where `residual_moe` says so."""
    if not config.flag("residual_moe"):
        return Block()
    return shared_mlp(config, config.size("intermediate_size"), "mlp.")


def grok2(config: Config) -> Parts:
    """Grok-2: experts beside a dense MLP on every layer, a norm before and after each half of it."""
    moe = Moe("num_local_experts", prefix="block_sparse_moe.", names=("w1", "w3", "w2"), plus=_residual_mlp)
    norms = ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm")
    return Decoder(Attention(bias=False), moe, norms)(config)


FAMILIES: dict[str, Family] = {
    "grok-1": grok1,
    "grok-2": grok2,
}
