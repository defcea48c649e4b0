"""Vision transformers that differ from CLIP: class and register tokens, joined projections, scaled residuals."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from sizer.model.architecture import Role
from sizer.model.blocks.towers.images import channels, pair, patches
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import Config


def intern_vit(config: Config, tree: Tree) -> None:
    """InternViT as OpenGVLab ships it (`intern_vit_6b`): fused attention, layer scales."""
    size, bias = config.size("hidden_size"), config.text("norm_type", default="rms_norm") == "layer_norm"
    embeddings = tree.at("embeddings")
    embeddings.parameter("class_embedding", 1, 1, size)
    patch = config.size("patch_size")
    embeddings.conv("patch_embedding", size, config.size("num_channels", default=3), patch, patch, bias=True)
    embeddings.parameter("position_embedding", 1, patches(config) + 1, size, role=Role.POSITION)
    layer = tree.stack("encoder.layers", config.layers())
    layer.parameter("ls1", size)
    layer.parameter("ls2", size)
    layer.at("attn").fused_attention(size, bias="qo" if config.flag("qkv_bias") else "o")
    if config.flag("qk_normalization", default=True):
        layer.at("attn").rms_norm("q_norm", "k_norm", size=size)
    (layer.layer_norm if bias else layer.rms_norm)("norm1", "norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


def joined_vit(config: Config, tree: Tree, *, bias: str) -> None:
    """A ViT with one projection for q, k and v (`q` in `bias`), and a class token with a position of its own."""
    size = config.size("hidden_size")
    embeddings = tree.at("embeddings")
    embeddings.parameter("class_embedding", 1, 1, size)
    embeddings.parameter("position_embedding", 1, patches(config) + 1, size, role=Role.POSITION)
    embeddings.conv("patch_embedding", size, 3, *pair(config, "patch_size"), bias=True)
    layer = tree.stack("encoder.layers", config.layers())
    layer.at("self_attn").fused_attention(size, "qkv projection", bias=bias)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
    tree.layer_norm("post_layernorm", size=size)


def internvl(config: Config, tree: Tree) -> None:
    """InternViT as transformers has it (`internvl_vision`)."""
    size = config.size("hidden_size")
    embeddings = tree.at("embeddings")
    embeddings.parameter("cls_token", 1, 1, size)
    if config.flag("use_mask_token"):
        embeddings.parameter("mask_token", 1, 1, size)
    embeddings.conv("patch_embeddings.projection", size, channels(config), *pair(config, "patch_size"), bias=True)
    if config.flag("use_absolute_position_embeddings", default=True):
        embeddings.parameter("position_embeddings", 1, patches(config) + 1, size, role=Role.POSITION)
    layer = tree.stack("encoder.layer", config.layers())
    layer.parameter("lambda_1", size)
    layer.parameter("lambda_2", size)
    bias = "qkvo" if config.flag("attention_bias") else "o"
    layer.at("attention").attention(size, "q_proj k_proj v_proj projection_layer", bias=bias)
    if config.flag("use_qk_norm"):
        layer.rms_norm("attention.q_norm", size=size)
        layer.rms_norm("attention.k_norm", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
    norms = layer.layer_norm if config.text("norm_type", default="layer_norm") == "layer_norm" else layer.rms_norm
    norms("layernorm_before", "layernorm_after", size=size)
    if not config.flag("use_mean_pooling", default=True):
        tree.layer_norm("layernorm", size=size)


def llama4(config: Config, tree: Tree) -> None:
    """Llama 4's vision tower with its pixel-shuffle adapter."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    tree.parameter("class_embedding", size)
    tree.parameter("positional_embedding_vlm", patches(config) + 1, size, role=Role.POSITION)
    tree.linear("patch_embedding.linear", size, channels(config) * prod(pair(config, "patch_size")))
    tree.layer_norm("layernorm_pre", "layernorm_post", size=size)
    layer = tree.stack("model.layers", config.layers())
    layer.at("self_attn").attention(size, SPLIT_O)
    layer.at("mlp").mlp(size, inner)
    layer.layer_norm("input_layernorm", "post_attention_layernorm", size=size)
    out = config.size("projector_output_dim")
    tree.linear("vision_adapter.mlp.fc1", config.size("projector_input_dim"), inner)
    tree.linear("vision_adapter.mlp.fc2", out, out)


# Tile layouts [rows, columns] of the class where the config lists none.
MLLAMA_RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))


def mllama(config: Config, tree: Tree) -> None:
    """Llama 3.2 Vision's tower: a local and a gated global encoder, tile and aspect-ratio embeddings."""
    size, tiles = config.size("hidden_size"), config.size("max_num_tiles")
    ratios = len(config.sequence("supported_aspect_ratios", list) or MLLAMA_RATIOS) + 1
    positions = patches(config) + 1
    tree.parameter("class_embedding", size)
    tree.conv("patch_embedding", size, channels(config), *pair(config, "patch_size"))
    gated = tree.at("gated_positional_embedding")
    gated.parameter("gate", 1)
    gated.parameter("embedding", positions, size, role=Role.POSITION)
    gated.positions("tile_embedding", ratios, tiles * positions * size)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        tree.parameter(f"{name}.gate", 1)
        tree.positions(f"{name}.embedding", ratios, tiles * size)
    tree.layer_norm("layernorm_pre", "layernorm_post", size=size)
    for name, count in (("transformer", config.layers()), ("global_transformer", config.layers("num_global_layers"))):
        layer = tree.stack(f"{name}.layers", count)
        if name == "global_transformer":
            layer.parameter("gate_attn", 1)
            layer.parameter("gate_ffn", 1)
        layer.at("self_attn").attention(size, SPLIT_O, bias="")
        layer.at("mlp").mlp(size, config.size("intermediate_size"))
        layer.layer_norm("input_layernorm", "post_attention_layernorm", size=size)


def step3p7(config: Config, tree: Tree) -> None:
    """Step 3.7's vision tower: layer-scaled encoder and two strided convolutions."""
    size = config.size("width", "hidden_size")
    inner = config.scaled(size, "mlp_ratio", default=8960 / 1536)
    count = config.layers("layers", "num_hidden_layers")
    tree.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"))
    tree.positions("embeddings.position_embedding", patches(config), size)
    tree.layer_norm("pre_layernorm", size=size)
    layer = tree.stack("layers", count)
    layer.parameter("lambda_1", size)
    layer.parameter("lambda_2", size)
    layer.at("self_attn").attention(size)
    layer.at("mlp").mlp(size, inner)
    layer.layer_norm("layernorm_before", "layernorm_after", size=size)
    tree.conv("downsampler1", 2 * size, size, 3, 3, bias=True)
    tree.conv("downsampler2", 4 * size, 2 * size, 3, 3, bias=True)


def blip2(config: Config, tree: Tree) -> None:
    """BLIP-2's ViT. The three biases come as one where `qkv_bias` says so, and not at all otherwise."""
    joined_vit(config, tree, bias="qo" if config.flag("qkv_bias", default=True) else "o")


def qianfan(config: Config, tree: Tree) -> None:
    """Qianfan OCR: InternViT with its layers one scope up."""
    inner = Tree()
    internvl(config, inner)
    for tensor in inner.tensors:
        name = tensor.name.replace("encoder.layer.", "layers.")
        tree.tensors.append(replace(tensor, name=tree.prefix + name, tower=tree.tower))


def molmo2(config: Config, tree: Tree) -> None:
    """Molmo 2's ViT: patches embedded by a linear layer, learned positions."""
    size, patch = config.size("hidden_size"), config.size("image_patch_size", "patch_size")
    given = "image_default_input_size" if config.first("image_default_input_size")[1] is not None else "image_size"
    height, width = pair(config, given, 378)
    whole = (height // patch) * (width // patch)
    positions = config.size("image_num_pos", "num_position_embeddings", default=whole)
    tree.parameter("positional_embedding", positions, size, role=Role.POSITION)
    tree.linear("patch_embedding", size, channels(config) * patch**2, bias=True)
    layer = tree.stack("layers", config.layers())
    head, bias = config.size("head_dim"), "qkvo" if config.flag("attention_bias", default=True) else ""
    inner, kv = config.size("num_attention_heads") * head, config.size("num_key_value_heads") * head
    layer.at("self_attn").attention(size, SPLIT_O, bias=bias, inner=inner, kv=kv)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


def radio(config: Config, tree: Tree) -> None:
    """C-RADIO: a ViT with register tokens, positions cropped from one grid, and scaled residuals."""
    size, patch = config.size("hidden_size"), config.size("patch_size")
    into, frames = channels(config) * patch**2, config.optional_size("video_temporal_patch_size")
    embeddings = tree.at("embeddings")
    side = config.size("max_img_size") // patch
    embeddings.parameter("position_embedding", 1, side**2, size, role=Role.POSITION)
    embeddings.parameter("cls_register_token", config.size("num_cls_tokens") + config.size("num_registers"), size)
    embeddings.linear("patch_projection", size, into)
    if frames is not None:
        embeddings.linear("video_patch_projection", size, frames * into)
    layer = tree.stack("encoder.layer", config.layers())
    bias = "qkvo" if config.flag("qkv_bias", default=True) else "o"
    layer.at("attention").attention(size, SPLIT_O, bias=bias)
    layer.layer_norm("norm1", "norm2", size=size)
    layer.parameter("layer_scale1.lambda1", size)
    layer.parameter("layer_scale2.lambda1", size)
    inner = config.scaled(size, "mlp_ratio", default=4.0)
    if config.flag("use_swiglu_ffn"):
        inner = (int(inner * 2 / 3) + 7) // 8 * 8
        layer.linear("mlp.weights_in", 2 * inner, size, Role.GATE_UP, bias=True)
        layer.linear("mlp.weights_out", size, inner, Role.DOWN, bias=True)
    else:
        layer.at("mlp").mlp(size, inner)


def inkling2(config: Config, tree: Tree) -> None:
    """Inkling 2: layer-scaled encoder over linear patches, a class token, and a merger."""
    size, patch = config.size("hidden_size"), config.size("patch_size", "native_patch_size")
    inner = config.size("intermediate_size", default=config.scaled(size, "mlp_ratio", default=4.0))
    embeddings = tree.at("embeddings")
    embeddings.parameter("class_embedding", size)
    embeddings.parameter("cls_position_embedding", size)
    embeddings.linear("patch_embedding", size, channels(config) * patch**2)
    embeddings.positions("position_embedding", config.size("posemb_grid_size") ** 2, size)
    tree.layer_norm("pre_layernorm", size=size)
    layer = tree.stack("layers", config.layers())
    layer.parameter("lambda_1", size)
    layer.parameter("lambda_2", size)
    layer.at("self_attn").attention(size)
    layer.layer_norm("layernorm_before", "layernorm_after", size=size)
    layer.at("mlp").mlp(size, inner)
    merged = size * config.size("spatial_merge_size") ** 2
    hidden, out = config.size("projection_hidden_dim"), config.size("text_hidden_size")
    tree.at("merger").mlp(merged, hidden, "linear_1 linear_2", bias=config.flag("projector_bias"), out=out)


def blip(config: Config, tree: Tree) -> None:
    """BLIP's ViT, always with biases."""
    joined_vit(config, tree, bias="qo")
