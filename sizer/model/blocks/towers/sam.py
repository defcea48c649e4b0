"""SAM's windowed encoder with relative positions and a neck."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.towers.images import channels
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config


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


def sam_model(config: Config, tree: Tree) -> None:
    """SAM's encoder as a model of its own."""
    sam(config, tree.at("vision_encoder"))
