"""DaViT: stages of paired spatial and channel attention."""

from __future__ import annotations

from sizer.model.blocks.towers.images import channels
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config


def _stage(tree: Tree, kind: str, size: int, inner: int, *, bias: str) -> None:
    """Half of a DaViT block: depthwise convolutions, attention over windows or channels, an MLP."""
    for index in (1, 2):
        tree.conv(f"conv{index}", size, 1, 3, 3, bias=True)
        tree.layer_norm(f"norm{index}", size=size)
    tree.at(f"{kind}_attn").fused_attention(size, bias=bias)
    tree.at("ffn").mlp(size, inner)


def florence(config: Config, tree: Tree) -> None:
    """DaViT (arXiv:2204.03645) as Florence-2 has it: stages of paired spatial and channel attention."""
    names = ("embed_dim", "patch_size", "depths")
    count = len(config.sequence("embed_dim") or ())
    sizes, kernels, depths = (config.sizes(name, count=count, maximum=MAX_COUNT) for name in names)
    norms_first = config.sequence("patch_prenorm", bool) or ()
    if len(norms_first) != count:
        raise config.error("patch_prenorm", f"It must have an entry for each of {count} stages (embed_dim).")
    into = channels(config)
    bias = "qo" if config.flag("qkv_bias", default=True) else "o"
    for index, (size, kernel, depth) in enumerate(zip(sizes, kernels, depths, strict=True)):
        conv = tree.at(f"convs.{index}")
        conv.conv("conv", size, into, kernel, kernel, bias=True)
        conv.layer_norm("norm", size=into if norms_first[index] else size)
        block = tree.stack(f"blocks.{index}", depth)
        inner = config.scaled(size, "mlp_ratio", default=4.0)
        _stage(block.at("spatial_block"), "window", size, inner, bias=bias)
        _stage(block.at("channel_block"), "channel", size, inner, bias=bias)
        into = size
