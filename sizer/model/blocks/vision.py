"""Vision towers: what a `vision_config` of each model_type builds, tensor by tensor.

Each function writes one tower's tensors into a scope, from the checked fields of its config; `TOWERS` maps the
`model_type` of a vision config to its function. Shapes follow transformers' modeling files of the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from sizer.errors import InvalidConfig
from sizer.model.architecture import Role
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import Config

VisionTower = Callable[[Config, Tree], None]


def pair(config: Config, name: str, default: int | None = None) -> tuple[int, int]:
    """A size that a config gives as one number or as [height, width]; `default` where it gives none."""
    value = config.get(name)
    if value is None and default is not None:
        return default, default
    if not isinstance(value, (list, tuple)):
        size = config.size(name)
        return size, size
    if len(value) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in value):
        raise InvalidConfig(f"config field {config.path + name!r} is {value!r}.", "It must be one or two sizes.")
    return value[0], value[1]


def patches(config: Config) -> int:
    """Patches of an image of the config's own size."""
    (height, width), (patch_height, patch_width) = pair(config, "image_size"), pair(config, "patch_size")
    return (height // patch_height) * (width // patch_width)


def channels(config: Config) -> int:
    """Colour channels of the input."""
    return config.size("num_channels", "in_channels", "in_chans", default=3)


def clip_layers(config: Config, tree: Tree, name: str = "encoder.layers", count: int | None = None) -> None:
    """Encoder layers as in CLIP and SigLIP: biased attention, two layer norms, two-matrix MLP."""
    size = config.size("hidden_size")
    layer = tree.stack(name, config.layers() if count is None else count)
    layer.at("self_attn").attention(size)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
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


def clip(config: Config, tree: Tree, *, embeds: bool = True, last_norm: bool = True) -> None:
    """CLIP's vision tower (`clip_vision_model`); without `embeds` its patches come from elsewhere."""
    size = config.size("hidden_size")
    embeddings = tree.at("embeddings")
    embeddings.parameter("class_embedding", size)
    if embeds:
        embeddings.conv("patch_embedding", size, channels(config), *pair(config, "patch_size"))
    embeddings.positions("position_embedding", patches(config) + 1, size)
    tree.layer_norm("pre_layrnorm", size=size)
    clip_layers(config, tree)
    if last_norm:
        tree.layer_norm("post_layernorm", size=size)


def pooling_head(tree: Tree, size: int, inner: int) -> None:
    """SigLIP's attention pooling: a probe, `nn.MultiheadAttention`, a norm and an MLP."""
    tree.parameter("probe", 1, 1, size)
    tree.parameter("attention.in_proj_weight", 3 * size, size, role=Role.QKV)
    tree.parameter("attention.in_proj_bias", 3 * size, role=Role.BIAS)
    tree.linear("attention.out_proj", size, size, Role.O, bias=True)
    tree.layer_norm("layernorm", size=size)
    tree.at("mlp").mlp(size, inner)


def siglip(config: Config, tree: Tree, head: bool | None = None) -> None:
    """SigLIP's vision tower, with its pooling head unless the config (or `head`) leaves it out."""
    size = config.size("hidden_size")
    tree.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"), bias=True)
    tree.positions("embeddings.position_embedding", patches(config), size)
    _siglip_body(config, tree, head)


def siglip2(config: Config, tree: Tree, head: bool | None = None) -> None:
    """SigLIP 2's vision tower: patches of any aspect ratio, embedded by a linear layer."""
    size = config.size("hidden_size")
    patch = prod(pair(config, "patch_size"))
    tree.linear("embeddings.patch_embedding", size, channels(config) * patch, bias=True)
    tree.positions("embeddings.position_embedding", config.size("num_patches"), size)
    _siglip_body(config, tree, head)


def _siglip_body(config: Config, tree: Tree, head: bool | None) -> None:
    size = config.size("hidden_size")
    clip_layers(config, tree)
    tree.layer_norm("post_layernorm", size=size)
    if config.flag("vision_use_head", default=True) if head is None else head:
        pooling_head(tree.at("head"), size, config.size("intermediate_size"))


def siglip_headless(config: Config, tree: Tree) -> None:
    """SigLIP's encoder without a pooling head (Idefics 2 and 3, SmolVLM, Aria)."""
    siglip(config, tree, head=False)


def pixtral(config: Config, tree: Tree) -> None:
    """Pixtral's vision tower: RMS norms, gated MLP, no biases, rotary positions."""
    size = config.size("hidden_size")
    tree.conv("patch_conv", size, channels(config), *pair(config, "patch_size"))
    tree.rms_norm("ln_pre", size=size)
    layer = tree.stack("transformer.layers", config.layers())
    layer.at("attention").attention(size, SPLIT_O, bias="")
    layer.at("feed_forward").gated_mlp(size, config.size("intermediate_size"))
    layer.rms_norm("attention_norm", size=size)
    layer.rms_norm("ffn_norm", size=size)


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


def gemma4(config: Config, tree: Tree) -> None:
    """Gemma 4's vision tower: factorized positions, four norms a layer, clipped linears without biases."""
    size = config.size("hidden_size")
    head = config.size("head_dim")
    heads, kv_heads = config.size("num_attention_heads"), config.size("num_key_value_heads")
    tree.linear("patch_embedder.input_proj", size, 3 * config.size("patch_size") ** 2)
    positions = (2, config.size("position_embedding_size"), size)
    tree.parameter("patch_embedder.position_embedding_table", *positions, role=Role.POSITION)
    layer = tree.stack("encoder.layers", config.layers())
    names = "q_proj.linear k_proj.linear v_proj.linear o_proj.linear"
    layer.at("self_attn").attention(size, names, bias="", inner=heads * head, kv=kv_heads * head)
    layer.rms_norm("self_attn.q_norm", size=head)
    layer.rms_norm("self_attn.k_norm", size=head)
    inner = config.size("intermediate_size")
    layer.at("mlp").gated_mlp(size, inner, "gate_proj.linear up_proj.linear down_proj.linear")
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        layer.rms_norm(f"{name}_layernorm", size=size)


def glm4v(config: Config, tree: Tree) -> None:
    """GLM-4V's vision tower with its downsampling and merger, which belong to it."""
    size, out = config.size("hidden_size"), config.size("out_hidden_size")
    inner, merge = config.size("intermediate_size"), config.size("spatial_merge_size")
    tree.positions("embeddings.position_embedding", patches(config), size)
    tree.conv("patch_embed.proj", size, channels(config), temporal(config), *pair(config, "patch_size"), bias=True)
    layer = tree.stack("blocks", config.layers("depth", "num_hidden_layers"))
    layer.rms_norm("norm1", size=size)
    layer.rms_norm("norm2", size=size)
    layer.at("attn").fused_attention(size, bias="q" if config.flag("attention_bias") else "")
    layer.at("mlp").gated_mlp(size, out)
    tree.linear("merger.proj", out, out)
    tree.layer_norm("merger.post_projection_norm", size=out)
    tree.at("merger").gated_mlp(out, inner)
    tree.rms_norm("post_conv_layernorm", size=size)
    tree.conv("downsample", out, size, merge, merge, bias=True)
    tree.rms_norm("post_layernorm", size=size)


def temporal(config: Config) -> int:
    """Frames that one patch spans."""
    value = config.get("temporal_patch_size")
    if isinstance(value, (list, tuple)):
        return pair(config, "temporal_patch_size")[0]
    return config.size("temporal_patch_size")


def minimax_m3(config: Config, tree: Tree) -> None:
    """MiniMax-M3's vision tower: CLIP layers over 3-D patches with rotary positions."""
    size = config.size("hidden_size")
    tree.conv("embeddings.proj", size, channels(config), temporal(config), *pair(config, "patch_size"))
    tree.layer_norm("pre_layrnorm", size=size)
    clip_layers(config, tree, "layers")


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


def kimi_k25(config: Config, tree: Tree) -> None:
    """MoonViT as in Kimi K2.5: learned 2-D positions and biased attention."""
    size = config.size("hidden_size")
    tree.conv("patch_embed.proj", size, channels(config), *pair(config, "patch_size"), bias=True)
    height, width = config.size("pos_emb_height"), config.size("pos_emb_width")
    tree.parameter("patch_embed.pos_emb.position_embeddings", height, width, size, role=Role.POSITION)
    layer = tree.stack("layers", config.layers())
    layer.layer_norm("norm1", "norm2", size=size)
    layer.at("attn").attention(size, "q_proj k_proj v_proj proj")
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
    tree.layer_norm("final_layernorm", size=size)


def sam(config: Config, tree: Tree) -> None:
    """The windowed SAM encoder of GOT-OCR 2: relative positions, global in some layers, and a neck."""
    size, out, patch = config.size("hidden_size"), config.size("output_channels"), config.size("patch_size")
    side = config.size("image_size") // patch
    head = size // config.size("num_attention_heads")
    inner = config.size("mlp_dim", default=config.scaled(size, "mlp_ratio", default=4.0))
    if config.flag("use_abs_pos", default=True):
        tree.parameter("pos_embed", 1, side, side, size, role=Role.POSITION)
    tree.conv("patch_embed.projection", size, channels(config), patch, patch, bias=True)
    count = config.layers()
    layer = tree.stack("layers", count)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("attn").fused_attention(size, bias="qo" if config.flag("qkv_bias", default=True) else "o")
    layer.at("mlp").mlp(size, inner, "lin1 lin2")
    if config.flag("use_rel_pos", default=True):
        global_layers = config.sequence("global_attn_indexes") or ()
        window = config.size("window_size", minimum=0)
        for every, reach in ((False, window or side), (True, side)):
            chosen = tree.at("layers.{layer}", (i for i in range(count) if (i in global_layers) is every))
            chosen.parameter("attn.rel_pos_h", 2 * reach - 1, head, role=Role.POSITION)
            chosen.parameter("attn.rel_pos_w", 2 * reach - 1, head, role=Role.POSITION)
    neck = tree.at("neck")
    neck.conv("conv1", out, size, 1, 1)
    neck.conv("conv2", out, out, 3, 3)
    neck.layer_norm("layer_norm1", "layer_norm2", size=out)


TOWERS: dict[str, VisionTower] = {
    "clip_vision_model": clip,
    "siglip_vision_model": siglip,
    "siglip2_vision_model": siglip2,
    "idefics2_vision": siglip_headless,
    "idefics3_vision": siglip_headless,
    "smolvlm_vision": siglip_headless,
    "pixtral": pixtral,
    "internvl_vision": internvl,
    "llama4_vision_model": llama4,
    "mllama_vision_model": mllama,
    "gemma4_vision": gemma4,
    "glm4v_vision": glm4v,
    "glm4v_moe_vision": glm4v,
    "minimax_m3_vl_vision": minimax_m3,
    "step3p5_vision": step3p7,
    "kimi_k25_vision": kimi_k25,
    "got_ocr2_vision": sam,
}
