"""Allen AI: OLMo 1 to 3, FlexOlmo, OLMoE, OLMo hybrid, Molmo and Molmo 2."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.attention import Heads
from sizer.model.blocks.core import Block, Parts, embedding, norm
from sizer.model.blocks.linear_attention import gated_delta
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import CLIP_L_336, with_towers
from sizer.model.shapes.decoder import POST_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family, named
from sizer.model.shapes.hybrid import delta_sizes, each_kind, interval_types
from sizer.model.shapes.rules import UNBIASED, Attention, FusedAttention, Mlp
from sizer.model.shapes.windows import EveryNth
from sizer.model.shapes.wrapper import Pieces, Wrapper


def olmo_hybrid(config: Config) -> Parts:
    """OLMo hybrid: delta nets normed before, attention normed after, as OLMo 3."""
    hidden, count, head_count = config.size("hidden_size"), config.layers(), config.size("num_attention_heads")
    types = list(interval_types(config, count))
    if "full_attention" not in types and config.layer_types(count) is None:
        types[-1] = "full_attention"
    key_heads = config.size("linear_num_key_heads", default=head_count)
    key_dim = config.size("linear_key_head_dim", default=int(0.75 * hidden / key_heads))
    sizes = delta_sizes(
        config,
        key_heads,
        config.size("linear_num_value_heads", default=head_count),
        key_dim,
        config.size("linear_value_head_dim", default=2 * key_dim),
    )
    mlp = gated_mlp(hidden, config.size("intermediate_size")) + norm("post_attention_layernorm", hidden)

    def layer(kind: str) -> Block:
        if kind == "linear_attention":
            return gated_delta(sizes, "apart") + mlp + norm("input_layernorm", hidden)
        return Attention(qk_norm="width")(config, 1)[0] + mlp + norm("post_feedforward_layernorm", hidden)

    return causal_lm(config, each_kind(types, layer))


def _olmoe_norms(_config: Config, sizes: Heads) -> Block:
    size = sizes.hidden // sizes.heads
    return norm("self_attn.q_norm", sizes.hidden) + norm("self_attn.k_norm", size * sizes.kv_heads)


def molmo2_text(config: Config) -> Parts:
    """Molmo 2's text model: norms a head or all heads wide, and more rows in the embedding than in the head."""
    width = "head" if config.text("qk_norm_type", default="qwen3") == "qwen3" else "width"
    parts = Decoder(Attention(qk_norm=width), UNBIASED)(config)
    spare = config.size("additional_vocab_size", default=0, minimum=0)
    table = parts.tensors[0]
    return replace(parts, tensors=(replace(table, shape=(table.shape[0] + spare, table.shape[1])), *parts.tensors[1:]))


def molmo2_pooling(pieces: Pieces, tree: Tree) -> None:
    """Molmo 2: attention pools two layers' patches, then a gated MLP."""
    adapter = pieces.sub("adapter_config")
    size, head = adapter.size("hidden_size"), adapter.size("head_dim")
    layers = adapter.sequence("vit_layers", int) or adapter.sequence("vision_feature_layer", int) or (24, 18)
    width, bias = size * len(layers), adapter.flag("attention_bias", default=True)
    queries, keys = adapter.size("num_attention_heads") * head, adapter.size("num_key_value_heads") * head
    pooling = tree.at("multi_modal_projector.image_pooling_2d")
    for name, out, role in (("q_proj", queries, Role.Q), ("k_proj", keys, Role.K), ("v_proj", keys, Role.V)):
        pooling.linear(name, out, width, role, bias=bias)
    pooling.linear("o_proj", size, queries, Role.O, bias=bias)
    projector, inner = tree.at("multi_modal_projector.image_projector"), adapter.size("intermediate_size")
    mlp_bias = adapter.flag("mlp_bias")
    projector.linear("gate_proj", inner, size, Role.GATE, bias=mlp_bias)
    projector.linear("up_proj", inner, size, Role.UP, bias=mlp_bias)
    projector.linear("down_proj", adapter.size("text_hidden_size"), inner, Role.DOWN)


MOLMO2 = Wrapper(molmo2_pooling, ties="never", text_as=molmo2_text)


def molmo2(config: Config) -> Parts:
    """Molmo 2; its first files name the tower `vit_config` and keep no more of its layers than the adapter reads."""
    legacy, adapter = config.mapping("vit_config"), config.sub("adapter_config")
    if config.fields.get("vision_config") is None and legacy:
        vision = Config(legacy, config.sub("vision_config").class_defaults, "vit_config.")
        depth = vision.layers()
        read = adapter.sequence("vit_layers", int) or adapter.sequence("vision_feature_layer", int) or (24, 18)
        kept = max(int(layer) % depth for layer in read) + 1
        fields = {**config.fields, "vision_config": {**legacy, "num_hidden_layers": kept}}
        return MOLMO2(Config(fields, config.class_defaults, config.path))
    return MOLMO2(config)


# The code fixes the tower (OpenAI's CLIP ViT-L/14 at 336 pixels, 23 of its layers) and 128 added tokens.
TOWER_LAYERS, ADDED_TOKENS = 23, 128


# MolmoE's file has the names of the training code.
TRAINING_NAMES = {
    "hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads", "intermediate_size": "mlp_hidden_size",
    "max_position_embeddings": "max_sequence_length",
}  # fmt: skip


def _molmo_norms(config: Config, sizes: Heads) -> Block:
    """`attention_layer_norm`: norms over all query heads and over all key heads."""
    if not config.flag("attention_layer_norm"):
        return Block()
    return norm("q_norm", sizes.hidden) + norm("k_norm", sizes.kv_heads * sizes.head_dim)


def _molmo_inner(config: Config) -> int:
    """Rows of the gated MLP: the field counts both halves; MolmoE may give a ratio instead."""
    both = config.size("intermediate_size", default=config.scaled(config.size("hidden_size"), "mlp_ratio", default=4))
    if both % 2:
        raise config.error("intermediate_size", "It counts both halves of the gated MLP and must be even.")
    return both // 2


def molmo(config: Config) -> Parts:
    """A decoder with fused projections under OLMo's names, CLIP features of two layers, pooled by attention."""
    if config.first("hidden_size")[1] is None:
        config = named(config, TRAINING_NAMES)
    hidden, inner = config.size("hidden_size"), _molmo_inner(config)
    names = ("att_proj", "attn_out")
    block = FusedAttention(names, prefix="", bias="qkv_bias", o_bias=False, plus=_molmo_norms)(config, 1)[0]
    if config.optional_size("moe_num_experts", minimum=0):
        block += _molmo_experts(config, inner)
    else:
        block += Mlp("fused", False, ("ff_proj", "ff_out"), prefix="").block(config, inner)
    block += norm("attn_norm", hidden) + norm("ff_norm", hidden)
    sizes = config.size("embedding_size", "vocab_size")
    added = embedding("model.transformer.wte.new_embedding", ADDED_TOKENS, hidden)
    parts = causal_lm(
        config,
        [block] * config.layers(),
        Naming(
            prefix="model.transformer.",
            layers="blocks.{layer}.",
            embed="wte.embedding",
            final_norm="ln_f",
            head="model.transformer.ff_out",
        ),
        extra=added,
        vocab=sizes,
        tied=config.flag("weight_tying"),
    )
    tower, joint = _molmo_tower(), _molmo_pooling(hidden, inner)
    return with_towers(replace(parts, max_context_tokens=config.optional_size("max_position_embeddings")), tower, joint)


def _molmo_experts(config: Config, inner: int) -> Block:
    """MolmoE: experts on every layer."""
    layer = Config({**config.fields, "expert_size": inner}, config.class_defaults, config.path)
    return Moe("moe_num_experts", "moe_top_k", "expert_size", router_linear=True).block(layer)


def _molmo_tower() -> Tree:
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


def _molmo_pooling(hidden: int, inner: int) -> Tree:
    """Attention pools patches by four; a gated MLP as wide as the text model's."""
    joint, size = Tree("model.vision_backbone.", tower=Tower.PROJECTOR), CLIP_L_336["hidden_size"]
    joint.parameter("pad_embed", 2, 2 * size)
    for name in ("wq", "wk", "wv"):
        joint.linear(f"image_pooling_2d.{name}", size, 2 * size, bias=True)
    joint.linear("image_pooling_2d.wo", size, size, bias=True)
    joint.at("image_projector").gated_mlp(size, inner, "w1 w3 w2", out=hidden)
    return joint


FAMILIES: dict[str, Family] = {
    "olmo": Decoder(mlp=UNBIASED, norms=(), naming=Naming(final_norm=None)),
    "olmo2": Decoder(Attention(qk_norm="width"), UNBIASED, POST_NORMS),
    "olmo3": Decoder(Attention(qk_norm="width", windows=EveryNth(4)), UNBIASED, POST_NORMS),
    "olmo_hybrid": olmo_hybrid,
    "flex_olmo": Decoder(Attention(qk_norm="width"), Moe(inner="intermediate_size"), POST_NORMS),
    "olmoe": Decoder(Attention(plus=_olmoe_norms), Moe(inner="intermediate_size")),
    "molmo2": molmo2,
    "molmo": molmo,
}
