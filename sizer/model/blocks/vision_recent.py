"""Vision towers of recent models: Molmo 2, LFM3-VL, RADIO, Inkling 2, Cosmos 3 Edge."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks import gemma3n
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.blocks.vision import VisionTower, channels, pair, siglip2
from sizer.model.config import Config


def molmo2(config: Config, tree: Tree) -> None:
    """Molmo 2's ViT: patches embedded by a linear layer, learned positions."""
    size, patch = config.size("hidden_size"), config.size("image_patch_size", "patch_size")
    sides = config.sequence("image_default_input_size") or config.sequence("image_size") or (378, 378)
    positions = config.size(
        "image_num_pos", "num_position_embeddings", default=(sides[0] // patch) * (sides[1] // patch)
    )
    tree.parameter("positional_embedding", positions, size, role=Role.POSITION)
    tree.linear("patch_embedding", size, channels(config) * patch**2, bias=True)
    layer = tree.stack("layers", config.layers())
    head, bias = config.size("head_dim"), "qkvo" if config.flag("attention_bias", default=True) else ""
    inner, kv = config.size("num_attention_heads") * head, config.size("num_key_value_heads") * head
    layer.at("self_attn").attention(size, SPLIT_O, bias=bias, inner=inner, kv=kv)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


def lfm3(config: Config, tree: Tree) -> None:
    """LFM3-VL: short 2-D convolutions among attention layers."""
    size, count = config.size("hidden_size"), config.layers()
    height, width = pair(config, "patch_size")
    patch = channels(config) * config.size("temporal_patch_size") * height * width
    types = config.layer_types(count) or tuple("conv" if i < 2 or i % 2 else "full_attention" for i in range(count))
    tree.linear("patch_embed", size, patch)
    layer = tree.stack("layers", count)
    layer.at("feed_forward").gated_mlp(size, config.size("intermediate_size"), "w1 w3 w2")
    layer.rms_norm("operator_norm", "ffn_norm", size=size)
    conv = tree.at("layers.{layer}.conv", (index for index in range(count) if types[index] == "conv"))
    kernel = config.size("conv_kernel_size")
    conv.linear("in_proj", 3 * size, size)
    conv.conv("spatial_conv", size, 1, kernel, kernel)
    conv.linear("out_proj", size, size)
    attending = tree.at("layers.{layer}.self_attn", (index for index in range(count) if types[index] != "conv"))
    head = size // config.size("num_attention_heads")
    attending.attention(size, bias="", kv=config.size("num_key_value_heads") * head)
    attending.rms_norm("q_norm", "k_norm", size=head)
    tree.rms_norm("embedding_norm", size=size)


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


def cosmos3_edge(config: Config, tree: Tree) -> None:
    """Cosmos 3 Edge: SigLIP 2's tower without its head."""
    siglip2(config, tree, head=False)


TOWERS: dict[str, VisionTower] = {
    "gemma3n_vision": gemma3n.vision,
    "molmo2_vision": molmo2,
    "lfm3_vl_vision": lfm3,
    "radio": radio,
    "inkling2_vision": inkling2,
    "cosmos3_edge_vision": cosmos3_edge,
}
