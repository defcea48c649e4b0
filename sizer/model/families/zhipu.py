"""Zhipu: ChatGLM, GLM-4 to 5.3, GLM-V, GLM-OCR, GLM-ASR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MlpKind, Role, Tensor, Tower
from sizer.model.blocks.attention import Heads, fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.linear_attention import kimi_delta
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import with_towers
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.experts import FINE_GRAINED, TYPED_FINE_GRAINED, FirstDense, Mtp
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mixer_types, sparse_layers
from sizer.model.shapes.latent import Mla, hyper_connection, indexed_layers, indexer, shared_selections, sparse_mla
from sizer.model.shapes.rules import FUSED, Attention
from sizer.model.shapes.wrapper import AUDIO, VISUAL, Pieces, Wrapper

INDEXED = "indexed_attention"


def _glm5_types(config: Config, count: int) -> Sequence[str]:
    """`layer_types`, else sparse attention on every fourth layer."""
    types = config.layer_types(count)
    if types is None:
        return tuple("linear_attention" if index % 4 != 3 else INDEXED for index in range(count))
    mixer_types(config, "layer_types", types, ("linear_attention", "full_attention", INDEXED))
    return tuple(INDEXED if kind == "full_attention" else kind for kind in types)


def _glm5_delta(config: Config) -> Block:
    """The delta attention, its sizes from `linear_attn_config` before the fields of their own."""
    listed = config.sub("linear_attn_config")
    return kimi_delta(
        config.size("hidden_size"),
        listed.size("num_heads", default=config.size("linear_num_heads")),
        listed.size("head_dim", default=config.size("linear_head_dim")),
        listed.size("short_conv_kernel_size", default=config.size("linear_conv_kernel_dim")),
        low_rank=True,
    )


def _glm5_sparse_attention(config: Config, *, indexed: bool) -> Block:
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
        block = _glm5_sparse_attention(config, indexed=not shared) if mixing == INDEXED else _glm5_delta(config)
        block += sparse if routed else gated_mlp(hidden, config.size("intermediate_size"))
        for name in ("attn_hc", "ffn_hc"):
            block += hyper_connection(config, name, (2 + streams) * streams, 3)
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    routed = sparse_layers(config, count, 3)
    kinds = list(zip(_glm5_types(config, count), routed, shared_selections(config, count), strict=True))
    return causal_lm(config, each_kind(kinds, layer))


def _glm_indexed(config: Config, count: int) -> list[Block]:
    return indexed_layers(config, Mla().block(config), shared_selections(config, count))


def _glm_mtp(config: Config, last: Block, count: int) -> tuple[Tensor, ...]:
    """GLM-5 stores its prediction layers without tables, and with an indexer even where the last layer shares one."""
    own = any(tensor.role is Role.INDEXER for tensor in last.tensors)
    return Mtp(tables=False)(config, last if own else last + indexer(config), count)


GLM_NORMS = (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm")


glm4v_text = Decoder(Attention(bias=True, o_bias=False), FUSED, GLM_NORMS)
glm_ocr_text = Decoder(Attention(bias=False), FUSED, GLM_NORMS)
glm4v_moe_text = Decoder(
    Attention(o_bias=False, floor_heads=True),
    FINE_GRAINED,
)


def glmasr(pieces: Pieces, tree: Tree) -> None:
    """GLM-ASR: frames joined, two matrices."""
    inner, text = pieces.audio.size("intermediate_size"), pieces.text_size
    tree.at("multi_modal_projector").mlp(inner, 2 * text, "linear_1 linear_2", out=text)


def chatglm(config: Config) -> Parts:
    """ChatGLM 2 and 3 and GLM-4 as THUDM ships it; ChatGLM 1, whose files have no grouped queries."""
    if config.first("inner_hidden_size")[1] is not None:
        return _chatglm1(config)
    hidden, count, size = config.size("hidden_size"), config.size("num_attention_heads"), config.size("kv_channels")
    groups = config.size("multi_query_group_num") if config.flag("multi_query_attention") else count
    bias = config.flag("add_bias_linear")
    rms = config.flag("rmsnorm", default=True)
    block = fused_attention(
        Heads(hidden, count, groups, size),
        prefix="self_attention.",
        o_bias=bias,
        bias=bias or config.flag("add_qkv_bias"),
    )
    inner = config.size("ffn_hidden_size")
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.dense_h_to_4h", 2 * inner, hidden, Role.GATE_UP, bias)
    block += linear("mlp.dense_4h_to_h", hidden, inner, Role.DOWN, bias)
    block += norm(PRE_NORMS[0], hidden, not rms) + norm(PRE_NORMS[1], hidden, not rms)
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(
            prefix="transformer.",
            layers="encoder.layers.{layer}.",
            embed="embedding.word_embeddings",
            final_norm="encoder.final_layernorm" if config.flag("post_layer_norm", default=True) else None,
            head="transformer.output_layer",
        ),
        norm_bias=not rms,
        head_bias=bias,
        vocab=config.size("padded_vocab_size", "vocab_size"),
        tied=False,
    )


def _chatglm1(config: Config) -> Parts:
    hidden, count, inner = (
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        config.size("inner_hidden_size"),
    )
    if hidden % count:
        raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    block = fused_attention(Heads(hidden, count, count, hidden // count), bias=True)
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.dense_h_to_4h", inner, hidden, Role.UP, True)
    block += linear("mlp.dense_4h_to_h", hidden, inner, Role.DOWN, True)
    block += norm(PRE_NORMS[0], hidden, True) + norm(PRE_NORMS[1], hidden, True)
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(prefix="transformer.", embed="word_embeddings", final_norm="final_layernorm"),
        norm_bias=True,
        tied=True,
    )


def glm4_remote(config: Config) -> Parts:
    """ChatGLM, and GLM-4V-9B where the file has a `vision_config` (EVA-CLIP's layers and a gated projector)."""
    parts = chatglm(config)
    if not config.fields.get("vision_config"):
        return parts
    vision = config.sub("vision_config")
    size, patch, hidden = vision.size("hidden_size"), vision.size("patch_size"), parts.hidden_size
    tower, joint = Tree("transformer.vision."), Tree("transformer.vision.", tower=Tower.PROJECTOR)
    tower.at("patch_embedding").conv("proj", size, vision.size("in_channels", default=3), patch, patch, bias=True)
    tower.parameter("patch_embedding.cls_embedding", 1, size)
    tower.at("patch_embedding").positions("position_embedding", vision.size("num_positions"), size)
    layer = tower.stack("transformer.layers", vision.layers())
    layer.layer_norm(*PRE_NORMS, size=size)
    layer.at("attention").fused_attention(size, "query_key_value dense")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"))
    inner = config.size("ffn_hidden_size")
    joint.conv("conv", hidden, size, 2, 2, bias=True)
    glu = joint.at("linear_proj")
    glu.linear("linear_proj", hidden, hidden)
    glu.layer_norm("norm1", size=hidden)
    glu.gated_mlp(hidden, inner, "gate_proj dense_h_to_4h dense_4h_to_h")
    joint.parameter("boi", 1, 1, hidden)
    joint.parameter("eoi", 1, 1, hidden)
    return with_towers(parts, tower, joint)


FAMILIES: dict[str, Family] = {
    "glm": Decoder(Attention(o_bias=False), FUSED),
    "glm4": Decoder(Attention(o_bias=False), FUSED, (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm")),
    "glm4_moe_lite": Decoder(Mla(), replace(FINE_GRAINED, sparse=FirstDense(None, 1)), beyond=Mtp()),
    "glm_moe_dsa": Decoder(_glm_indexed, TYPED_FINE_GRAINED, beyond=_glm_mtp),
    "glm4_moe": Decoder(
        Attention(qk_norm="head", norm_if="use_qk_norm", o_bias=False, floor_heads=True),
        FINE_GRAINED,
        beyond=Mtp(),
    ),
    "glm4v": Wrapper(towers=VISUAL, ties="either", text_as=glm4v_text),
    "glm46v": Wrapper(towers=VISUAL, text_as=glm4v_text),
    "glmga": Wrapper(towers=VISUAL, text_as=glm4v_text),
    "glm4v_moe": Wrapper(towers=VISUAL, ties="either", text_as=glm4v_moe_text),
    "glm_ocr": Wrapper(towers=VISUAL, ties="either", text_as=glm_ocr_text),
    "glm5_next": Wrapper(towers=VISUAL, text_as=glm5_next_text, flat=True),
    "glmasr": Wrapper(glmasr, AUDIO, merged=True),
    "chatglm": glm4_remote,
}
