"""CLIP's and SigLIP's encoders (pre-norm layers, biased attention, two-matrix MLPs) and those built on them."""

from __future__ import annotations

from math import prod

from sizer.model.architecture import Role
from sizer.model.blocks.towers.images import channels, pair, patches, temporal
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import Config


def clip_layers(config: Config, tree: Tree, name: str = "encoder.layers", count: int | None = None) -> None:
    """Encoder layers as in CLIP and SigLIP: biased attention, two layer norms, two-matrix MLP."""
    size = config.size("hidden_size")
    layer = tree.stack(name, config.layers() if count is None else count)
    layer.at("self_attn").attention(size)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


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


def minimax_m3(config: Config, tree: Tree) -> None:
    """MiniMax-M3's vision tower: CLIP layers over 3-D patches with rotary positions."""
    size = config.size("hidden_size")
    tree.conv("embeddings.proj", size, channels(config), temporal(config), *pair(config, "patch_size"))
    tree.layer_norm("pre_layrnorm", size=size)
    clip_layers(config, tree, "layers")


def video_llama3(config: Config, tree: Tree) -> None:
    """VideoLLaMA 3: SigLIP's layers with rotary positions."""
    size = config.size("hidden_size")
    tree.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"), bias=True)
    clip_layers(config, tree)
    tree.layer_norm("post_layernorm", size=size)


def janus(config: Config, tree: Tree) -> None:
    """Janus: SigLIP's encoder with optional query and key norms."""
    size = config.size("hidden_size")
    tree.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"), bias=True)
    tree.positions("embeddings.position_embedding", patches(config), size)
    layer = tree.stack("encoder.layers", config.layers())
    names = "q_proj k_proj v_proj projection_layer"
    layer.at("self_attn").attention(size, names, bias="qkvo" if config.flag("attention_bias") else "o")
    if config.flag("use_qk_norm"):
        layer.layer_norm("self_attn.q_norm", "self_attn.k_norm", size=size)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.scaled(size, "mlp_ratio", default=4.0))
    tree.layer_norm("post_layernorm", size=size)


def phi4(config: Config, tree: Tree) -> None:
    """Phi-4 multimodal: SigLIP's tower, always with its pooling head."""
    siglip(config, tree, head=True)


def minicpm(config: Config, tree: Tree) -> None:
    """MiniCPM-V 4.6: SigLIP's encoder, with a merger by window attention between its layers."""
    siglip(config, tree, head=False)
    size = config.size("hidden_size")
    height, width = config.sizes("window_kernel_size", count=2, default=(2, 2))
    merger, merged = tree.at("vit_merger"), height * width
    merger.at("self_attn").attention(size)
    merger.layer_norm("layer_norm1", size=size)
    merger.layer_norm("pre_norm", size=merged * size)
    merger.mlp(merged * size, merged * config.size("intermediate_size"), "linear_1 linear_2", out=size)


def paddle(config: Config, tree: Tree) -> None:
    """PaddleOCR-VL: SigLIP's encoder without a head."""
    siglip(config, tree.at("vision_model"), head=False)


def cosmos3_edge(config: Config, tree: Tree) -> None:
    """Cosmos 3 Edge: SigLIP 2's tower without its head."""
    siglip2(config, tree, head=False)


def granite_docling(config: Config, tree: Tree) -> None:
    """Granite Docling's tower: SigLIP's encoder and a coarse and a fine connector with DeepStack mergers."""
    siglip_headless(config, tree)
    size, out, factor = config.size("hidden_size"), config.size("out_hidden_size"), config.size("scale_factor")
    depth = len(config.sequence("deepstack_visual_indexes", int) or (3, 7, 10))
    connector = tree.at("connector")
    routes = (("coarse", factor), ("fine", factor // 2))[: 2 if config.flag("use_fine_route", default=True) else 1]
    for name, scale in routes:
        route, merged = connector.at(name), size * scale**2
        route.linear("projection", out, merged)
        merger = route.stack("deepstack_mergers", depth)
        merger.layer_norm("layer_norm", size=merged)
        merger.mlp(merged, out, "linear_1 linear_2", out=out)
    connector.layer_norm("ln_in", size=size)
    connector.layer_norm("ln_mid", "ln_out", size=out)
    connector.linear("mlp_fc2", out, out)


def hunyuan(config: Config, tree: Tree) -> None:
    """HunyuanOCR's ViT: SigLIP's layers, positions for the largest image and a class token."""
    size, patch = config.size("hidden_size"), config.size("patch_size")
    embeddings = tree.at("embeddings")
    embeddings.conv("patch_embedding", size, channels(config), patch, patch, bias=True)
    embeddings.positions("position_embedding", (config.size("max_image_size") // patch) ** 2 + 1, size)
    layer = tree.stack("layers", config.layers())
    layer.at("self_attn").attention(size, SPLIT_O)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
