"""Databricks (MosaicML): MPT, DBRX."""

from __future__ import annotations

from sizer.model.blocks.attention import Heads, fused_attention
from sizer.model.blocks.core import Parts, norm
from sizer.model.blocks.mlp import experts, router
from sizer.model.config import ClassDefaults, Config
from sizer.model.shapes.decoder import Decoder, Naming, causal_lm
from sizer.model.shapes.experts import active_experts
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import FusedAttention, Mlp

# What transformers' DbrxAttentionConfig and DbrxFFNConfig take for fields that a file leaves out.
DBRX_DEFAULTS: dict[str, dict[str, int]] = {
    "attn_config": {"kv_n_heads": 1},
    "ffn_config": {"ffn_hidden_size": 3584, "moe_num_experts": 4, "moe_top_k": 1},
}


def dbrx(config: Config) -> Parts:
    """DBRX: attention and experts configured apart; norms without bias."""
    hidden, number = config.size("hidden_size"), config.size("num_attention_heads")
    attn, ffn = (
        Config(config.sub(name).fields, ClassDefaults("dbrx", defaults), f"{config.path}{name}.")
        for name, defaults in DBRX_DEFAULTS.items()
    )
    if hidden % number:
        raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    kv_heads, count = attn.size("kv_n_heads"), ffn.size("moe_num_experts")
    if number % kv_heads:
        raise attn.error("kv_n_heads", f"It must divide the number of heads ({number}).")
    active, inner = active_experts(ffn, "moe_top_k", count), ffn.size("ffn_hidden_size")
    block = fused_attention(
        Heads(hidden, number, kv_heads, hidden // number), prefix="norm_attn_norm.attn.", names=("Wqkv", "out_proj")
    )
    block += norm("norm_attn_norm.norm_1", hidden) + norm("norm_attn_norm.norm_2", hidden)
    block += router(hidden, count, name="ffn.router.layer", linear_module=True)
    block += experts(hidden, inner, count, active, prefix="ffn.experts.mlp.", names=("w1", "v1", "w2"))
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(prefix="transformer.", layers="blocks.{layer}.", embed="wte", final_norm="norm_f"),
    )


FAMILIES: dict[str, Family] = {
    "mpt": Decoder(
        FusedAttention(("Wqkv", "out_proj"), "attn.", False, plain_heads=True, kv_field=False),
        Mlp("plain", False, prefix="ffn.", size=None, factor=4),
        ("norm_1", "norm_2"),
        naming=Naming(prefix="transformer.", layers="blocks.{layer}.", embed="wte", final_norm="norm_f"),
    ),
    "dbrx": dbrx,
}
