"""Vision towers of models that read pages: SAM on its own, Granite Docling, HunyuanOCR."""

from __future__ import annotations

from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.blocks.vision import VisionTower, channels, sam, siglip_headless
from sizer.model.config import Config


def sam_model(config: Config, tree: Tree) -> None:
    """SAM's encoder as a model of its own."""
    sam(config, tree.at("vision_encoder"))


def granite_docling_vision(config: Config, tree: Tree) -> None:
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


def hunyuan_vision(config: Config, tree: Tree) -> None:
    """HunyuanOCR's ViT: SigLIP's layers, positions for the largest image and a class token."""
    size, patch = config.size("hidden_size"), config.size("patch_size")
    embeddings = tree.at("embeddings")
    embeddings.conv("patch_embedding", size, channels(config), patch, patch, bias=True)
    embeddings.positions("position_embedding", (config.size("max_image_size") // patch) ** 2 + 1, size)
    layer = tree.stack("layers", config.layers())
    layer.at("self_attn").attention(size, SPLIT_O)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


TOWERS: dict[str, VisionTower] = {
    "sam_vision_model": sam_model,
    "granite_docling_vision": granite_docling_vision,
    "hunyuan_vl_vision": hunyuan_vision,
}
