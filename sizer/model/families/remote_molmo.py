"""Molmo as Allen AI ships it: Molmo-7B and 72B, and the mixture of experts MolmoE."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.core import Block, Parts, embedding, norm
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.experts import Moe
from sizer.model.families.remote import Family, named
from sizer.model.families.remote_vision import CLIP_L_336, with_towers
from sizer.model.families.rules import FusedAttention, Heads, Mlp

# The code fixes the tower (OpenAI's CLIP ViT-L/14 at 336 pixels, 23 of its layers) and 128 added tokens.
TOWER_LAYERS, ADDED_TOKENS = 23, 128

# MolmoE's file has the names of the training code.
TRAINING_NAMES = {
    "hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads", "intermediate_size": "mlp_hidden_size",
    "max_position_embeddings": "max_sequence_length",
}  # fmt: skip


def _qk_norms(config: Config, sizes: Heads) -> Block:
    """`attention_layer_norm`: norms over all query heads and over all key heads."""
    if not config.flag("attention_layer_norm"):
        return Block()
    return norm("q_norm", sizes.hidden) + norm("k_norm", sizes.kv_heads * sizes.head_dim)


def _inner(config: Config) -> int:
    """Rows of the gated MLP: the field counts both halves; MolmoE may give a ratio instead."""
    both = config.size("intermediate_size", default=config.scaled(config.size("hidden_size"), "mlp_ratio", default=4))
    if both % 2:
        raise config.error("intermediate_size", "It counts both halves of the gated MLP and must be even.")
    return both // 2


def molmo(config: Config) -> Parts:
    """A decoder with fused projections under OLMo's names, CLIP features of two layers, pooled by attention."""
    if config.first("hidden_size")[1] is None:
        config = named(config, TRAINING_NAMES)
    hidden, inner = config.size("hidden_size"), _inner(config)
    names = ("att_proj", "attn_out")
    block = FusedAttention(names, prefix="", bias="qkv_bias", o_bias=False, plus=_qk_norms)(config, 1)[0]
    if config.optional_size("moe_num_experts", minimum=0):
        block += _experts(config, inner)
    else:
        block += Mlp("fused", False, ("ff_proj", "ff_out"), prefix="").block(config, inner)
    block += norm("attn_norm", hidden) + norm("ff_norm", hidden)
    sizes = config.size("embedding_size", "vocab_size")
    added = embedding("model.transformer.wte.new_embedding", ADDED_TOKENS, hidden)
    parts = causal_lm(
        config, [block] * config.layers(), prefix="model.transformer.", layers="blocks.{layer}.", embed="wte.embedding",
        final_norm="ln_f", head="model.transformer.ff_out", extra=added, vocab=sizes, tied=config.flag("weight_tying"),
    )  # fmt: skip
    tower, joint = _tower(), _joint(hidden, inner)
    return with_towers(replace(parts, max_context_tokens=config.optional_size("max_position_embeddings")), tower, joint)


def _experts(config: Config, inner: int) -> Block:
    """MolmoE: experts on every layer."""
    layer = Config({**config.fields, "expert_size": inner}, config.class_defaults, config.path)
    return Moe("moe_num_experts", "moe_top_k", "expert_size", router_linear=True).block(layer)


def _tower() -> Tree:
    tower = Tree("model.vision_backbone.image_vit.")
    size, side = CLIP_L_336["hidden_size"], CLIP_L_336["image_size"] // CLIP_L_336["patch_size"]
    tower.parameter("class_embedding", size)
    tower.parameter("positional_embedding", side * side + 1, size, role=Role.POSITION)
    tower.linear("patch_embedding", size, 3 * CLIP_L_336["patch_size"] ** 2)
    tower.layer_norm("pre_ln", size=size)
    layer = tower.stack("transformer.resblocks", TOWER_LAYERS)
    layer.at("attention").attention(size, "wq wk wv wo")
    layer.at("feed_forward").mlp(size, CLIP_L_336["intermediate_size"], "w1 w2")
    layer.layer_norm("attention_norm", "ffn_norm", size=size)
    return tower


def _joint(hidden: int, inner: int) -> Tree:
    """Attention pools patches by four; a gated MLP as wide as the text model's."""
    joint, size = Tree("model.vision_backbone.", tower=Tower.PROJECTOR), CLIP_L_336["hidden_size"]
    joint.parameter("pad_embed", 2, 2 * size)
    for name in ("wq", "wk", "wv"):
        joint.linear(f"image_pooling_2d.{name}", size, 2 * size, bias=True)
    joint.linear("image_pooling_2d.wo", size, size, bias=True)
    joint.at("image_projector").gated_mlp(size, inner, "w1 w3 w2", out=hidden)
    return joint


FAMILIES: dict[str, Family] = {"molmo": molmo}
