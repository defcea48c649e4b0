"""InclusionAI: Ling, Ring and LLaDA 2 (and Sarvam, of their shape), the hybrid of Ling 2.5."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.attention import fused_attention
from sizer.model.blocks.core import Parts, linear, norm
from sizer.model.blocks.linear_attention import kimi_delta
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Naming, causal_lm, joined
from sizer.model.shapes.experts import FirstDense, Moe
from sizer.model.shapes.family import Family, denoising
from sizer.model.shapes.hybrid import kimi_deltas
from sizer.model.shapes.latent import latent_attention
from sizer.model.shapes.rules import Mlp, heads


def bailing_hybrid(config: Config) -> Parts:
    """Ling and Ring 2.5's hybrid: delta attention, latent attention with a gate for each head."""
    hidden, count, head_count = config.size("hidden_size"), config.layers(), config.size("num_attention_heads")
    types = config.layer_types(count)
    if types is None:
        group = config.size("layer_group_size")
        types = tuple("linear_attention" if (index + 1) % group else "full_attention" for index in range(count))
    delta = kimi_delta(
        hidden,
        config.size("linear_num_heads", default=head_count),
        config.optional_size("linear_head_dim") or config.size("head_dim"),
        config.optional_size("linear_conv_kernel_dim") or config.size("short_conv_kernel_size"),
        low_rank=False,
    )
    full = latent_attention(config) + linear("self_attn.g_proj", head_count, hidden, Role.GATE)
    return kimi_deltas(config, types, 2, delta, full)


def bailing(config: Config) -> Parts:
    """Ling, Ring and LLaDA 2: fused attention, experts beside shared ones; version 2 norms queries and keys."""
    sizes, count, bias = heads(config), config.layers(), config.flag("use_bias")
    block = fused_attention(
        sizes,
        bias=config.flag("use_qkv_bias"), o_bias=bias,
    )  # fmt: skip
    if config.flag("use_qk_norm"):
        block += norm("attention.query_layernorm", sizes.head_dim) + norm("attention.key_layernorm", sizes.head_dim)
    shared = config.optional_size("num_shared_experts", minimum=0)
    moe = Moe(
        sparse=FirstDense(first=0, typed=False),
        dense=Mlp(bias="use_bias"),
        shared=("moe_intermediate_size", "num_shared_experts") if shared else None,
    )
    norms = norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    return causal_lm(
        config, joined((block,) * count, moe(config, count), (norms,) * count), Naming(embed="word_embeddings")
    )


FAMILIES: dict[str, Family] = {
    "bailing_hybrid": bailing_hybrid,
    "bailing_moe": bailing,
    "bailing_moe_v2": bailing,
    "llada2_moe": denoising(bailing),
    "sarvam_moe": bailing,
}
