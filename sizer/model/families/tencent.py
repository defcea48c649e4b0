"""Tencent: Hunyuan (dense, experts, OCR), HY 3 and 4, Youtu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.attention import attention, head_norms
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.experts import FINE_GRAINED, FirstDense, Moe, shared_mlp
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import Mla, hyper_connection, hyper_head, indexed_layers, indexer_types
from sizer.model.shapes.rules import QK_HEADS, UNBIASED, Attention, Mlp, heads
from sizer.model.shapes.wrapper import Pieces, Wrapper


def _hy_v4_indexed(config: Config, count: int) -> list[Block]:
    """HY-V4: an indexer on the first layer and every fourth from the second; output gates and sinks."""
    kinds = indexer_types(config, count)
    shared = [kind == "shared" for kind in kinds] if kinds else [i > 0 and (i - 1) % 4 > 0 for i in range(count)]
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    attention = Mla().block(config) + linear(
        "self_attn.gate_proj", heads * config.size("v_head_dim"), hidden, Role.GATE
    )
    return indexed_layers(config, attention + parameter("self_attn.sinks", heads), shared)


def hy_v4(config: Config) -> Parts:
    """HY-V4: sparse latent attention, experts, and two hyper-connections a layer."""
    count, hidden = config.layers(), config.size("hidden_size")
    moe = replace(FINE_GRAINED, sparse=FirstDense(None, 1))
    more = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    for name in ("attn_hc", "ffn_hc"):
        more += hyper_connection(config, name, 2 * config.size("hc_mult"), 2)
    blocks = joined(_hy_v4_indexed(config, count), moe(config, count), (more,) * count)
    return causal_lm(config, blocks, extra=hyper_head(config))


def _hunyuan_shared(config: Config, _experts: int) -> Block:
    return shared_mlp(config, config.size("intermediate_size"), "mlp.shared_mlp.")


def hunyuan_merger(pieces: Pieces, tree: Tree) -> None:
    """HunyuanOCR's merger: two convolutions and a matrix to the text's width, with marks of rows and images."""
    size, out, merge = pieces.vision.size("hidden_size"), pieces.text_size, pieces.vision.size("spatial_merge_size")
    merger = tree.at("vision_tower.patch_merger")
    merger.conv("proj_conv", 2 * size, size, merge, merge, bias=True)
    merger.conv("proj_out", 4 * size, 2 * size, 1, 1, bias=True)
    merger.linear("mlp", out, 4 * size, bias=True)
    merger.parameter("image_newline", 4 * size)
    for name in ("image_begin", "image_end", "image_sep"):
        merger.parameter(name, out)
    merger.rms_norm("before_rms", size=size)
    merger.rms_norm("after_rms", size=out)


HUNYUAN = Wrapper(hunyuan_merger, ties="either", text_as="hunyuan_v1_dense", flat=True)


def hunyuan_vl(config: Config) -> Parts:
    """HunyuanOCR. A file without a text_config has the text's fields on top, but its head is always the embedding."""
    if config.fields.get("text_config") is None:
        return HUNYUAN(Config({**config.fields, "tie_word_embeddings": True}, config.class_defaults, config.path))
    return HUNYUAN(config)


def _by_layer(config: Config, field: str, count: int) -> tuple[int, ...]:
    """A size that is one number for all layers, or a list of one for each."""
    value = config.first(field)[1]
    if not isinstance(value, (list, tuple)):
        return (config.size(field),) * count
    if len(value) < count:
        raise config.error(field, f"It must have one entry for each of {count} layers.")
    return tuple(Config({field: entry}, path=config.path).size(field) for entry in value[:count])


def hunyuan(config: Config) -> Parts:
    """Hunyuan as Tencent ships it: dense, or experts beside a shared MLP; layers may share keys and values."""
    sizes, count = heads(config), config.layers()
    share = config.size("cla_share_factor", default=1) if config.flag("use_cla") else 1
    own, borrowed = (_hunyuan_attention(config, shares) for shares in (False, True))
    norms = norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    attentions = [borrowed if index % share else own for index in range(count)]
    return causal_lm(config, joined(attentions, _hunyuan_mlp(config, count), (norms,) * count))


V1_MOE = Decoder(
    Attention(qk_norm="head", qk_names=("query_layernorm", "key_layernorm")),
    Moe(active="moe_topk", inner="intermediate_size", router="gate.wg", router_linear=True, plus=_hunyuan_shared),
)
PER_LAYER = ("num_experts", "moe_topk", "moe_intermediate_size", "num_shared_expert")


def hunyuan_v1_moe(config: Config) -> Parts:
    """Hunyuan-A13B: transformers' shape; as published, its sizes of experts are lists of one value a layer."""
    listed = any(isinstance(config.first(field)[1], (list, tuple)) for field in PER_LAYER)
    return replace(V1_MOE, mlp=_hunyuan_mlp)(config) if listed else V1_MOE(config)


def _hunyuan_attention(config: Config, shares: bool) -> Block:
    sizes, bias = heads(config), config.flag("attention_bias")
    names = [("query_layernorm", sizes.head_dim)] + ([] if shares else [("key_layernorm", sizes.head_dim)])
    block = attention(sizes, bias=bias, shares_kv=shares)
    return block + head_norms(names) if config.flag("use_qk_norm") else block


def _hunyuan_mlp(config: Config, count: int) -> Sequence[Block]:
    hidden, bias = config.size("hidden_size"), config.flag("mlp_bias")
    experts = _by_layer(config, "num_experts", count) if config.first("num_experts")[1] is not None else (1,) * count
    if max(experts) == 1:
        return (gated_mlp(hidden, config.size("intermediate_size"), bias=bias),) * count
    inner_field = "moe_intermediate_size" if config.first("moe_intermediate_size")[1] else "intermediate_size"
    shared_field = "num_shared_expert"
    shared = _by_layer(config, shared_field, count) if config.first(shared_field)[1] not in (None, 0) else (0,) * count
    kinds = list(
        zip(experts, _by_layer(config, "moe_topk", count), _by_layer(config, inner_field, count), shared, strict=True)
    )
    made = {kind: _hunyuan_experts(config, *kind) for kind in dict.fromkeys(kinds)}
    return [made[kind] for kind in kinds]


def _hunyuan_experts(config: Config, experts: int, active: int, inner: int, shared: int) -> Block:
    fields = {**config.fields, "num_experts": experts, "moe_topk": active, "moe_intermediate_size": inner}
    layer = Config(fields, config.class_defaults, config.path)
    block = Moe("num_experts", "moe_topk", "moe_intermediate_size", router="gate.wg", router_linear=True).block(layer)
    if shared and config.flag("use_mixed_mlp_moe"):
        block += shared_mlp(config, shared * config.size("intermediate_size"), "mlp.shared_mlp.")
    return block


FAMILIES: dict[str, Family] = {
    "hunyuan_v1_dense": Decoder(Attention(qk_norm="head", qk_names=("query_layernorm", "key_layernorm")), UNBIASED),
    "hy_v4": hy_v4,
    "youtu": Decoder(Mla(), UNBIASED),
    "hunyuan_v1_moe": hunyuan_v1_moe,
    "hy_v3": Decoder(
        QK_HEADS,
        Moe(
            sparse=FirstDense(None, 1),
            dense=Mlp(),
            shared=("moe_intermediate_size", "num_shared_experts"),
            shared_bias="mlp_bias",
        ),
    ),
    "hunyuan_vl": hunyuan_vl,
    "hunyuan": hunyuan,
}
