"""GLM-5.3: Kimi's delta attention among sparse latent attention, with hyper-connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.blocks.core import Block, Parts, norm, parameter
from sizer.model.blocks.linear_attention import kimi_delta
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, causal_lm
from sizer.model.families.experts import Mla, sparse_mla
from sizer.model.families.hybrid import each_kind, mixer_types
from sizer.model.families.hybrid_linear import sparse_layers
from sizer.model.families.latent import hyper_connection, shared_selections

INDEXED = "indexed_attention"


def _types(config: Config, count: int) -> Sequence[str]:
    """`layer_types`, else sparse attention on every fourth layer."""
    types = config.layer_types(count)
    if types is None:
        return tuple("linear_attention" if index % 4 != 3 else INDEXED for index in range(count))
    mixer_types(config, "layer_types", types, ("linear_attention", "full_attention", INDEXED))
    return tuple(INDEXED if kind == "full_attention" else kind for kind in types)


def _delta(config: Config) -> Block:
    """The delta attention, its sizes from `linear_attn_config` before the fields of their own."""
    listed = config.sub("linear_attn_config")
    return kimi_delta(
        config.size("hidden_size"),
        listed.size("num_heads", default=config.size("linear_num_heads")),
        listed.size("head_dim", default=config.size("linear_head_dim")),
        listed.size("short_conv_kernel_size", default=config.size("linear_conv_kernel_dim")),
        low_rank=True,
    )


def _sparse_attention(config: Config, *, indexed: bool) -> Block:
    """Latent attention without rotary dimensions over selected tokens.

    An indexer compares pools of keys, weighted by a gate of each token, so that it keeps key and gate.
    """
    hidden, size, pool = config.size("hidden_size"), config.size("index_head_dim"), config.size("index_kpool")
    selected = config.size("index_topk")
    if selected % pool:
        raise config.error("index_topk", f"index_kpool ({pool}) must divide it.")
    block = sparse_mla(Mla().block(config), config, indexed=indexed)
    if not indexed:
        return block
    block += parameter("self_attn.indexer.index_kpool_compress_ape", pool, size)
    block += parameter("self_attn.indexer.index_kpool_compress_gate", size, hidden)
    return replace(block, mixers=tuple(replace(mixer, indexer_elements=2 * size) for mixer in block.mixers))


def glm5_next_text(config: Config) -> Parts:
    """GLM-5.3's text model."""
    hidden, count, streams = config.size("hidden_size"), config.layers(), config.size("hc_mult")
    expert_count, inner = config.size("n_routed_experts"), config.size("moe_intermediate_size")
    sparse = router(hidden, expert_count) + experts(hidden, inner, expert_count, config.size("num_experts_per_tok"))
    sparse += shared_expert(hidden, inner * config.size("n_shared_experts"))

    def layer(kind: tuple[str, bool, bool]) -> Block:
        mixing, routed, shared = kind
        block = _sparse_attention(config, indexed=not shared) if mixing == INDEXED else _delta(config)
        block += sparse if routed else gated_mlp(hidden, config.size("intermediate_size"))
        for name in ("attn_hc", "ffn_hc"):
            block += hyper_connection(config, name, (2 + streams) * streams, 3)
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    routed = sparse_layers(config, count, 3)
    kinds = list(zip(_types(config, count), routed, shared_selections(config, count), strict=True))
    return causal_lm(config, each_kind(kinds, layer))
