"""Coders of images as discrete codes: convolutional, with a codebook."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.architecture import Role
from sizer.model.blocks.core import embedding
from sizer.model.blocks.towers.images import channels
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config


def _residual(tree: Tree, into: int, out: int) -> None:
    """Two normed convolutions; a pointwise one beside them where the width changes."""
    tree.layer_norm("norm1", size=into)
    tree.conv("conv1", out, into, 3, 3, bias=True)
    tree.layer_norm("norm2", size=out)
    tree.conv("conv2", out, out, 3, 3, bias=True)
    if into != out:
        tree.conv("nin_shortcut", out, into, 1, 1, bias=True)


def _attention(tree: Tree, size: int) -> None:
    tree.layer_norm("norm", size=size)
    for name in ("q", "k", "v", "proj_out"):
        tree.conv(name, size, size, 1, 1, bias=True)


def _middle(tree: Tree, size: int, *, attends: bool = True) -> None:
    _residual(tree.at("block_1"), size, size)
    if attends:
        _attention(tree.at("attn_1"), size)
    _residual(tree.at("block_2"), size, size)


def _level(tree: Tree, count: int, into: int, out: int, *, attends: bool) -> None:
    """`count` residual blocks of one resolution, the first from `into` channels, with attention behind each."""
    for index in range(count):
        _residual(tree.at(f"block.{index}"), into if index == 0 else out, out)
        if attends:
            _attention(tree.at(f"attn.{index}"), out)


def _widths(config: Config) -> tuple[int, list[int]]:
    """Channels of the first convolution, and of each resolution."""
    base, times = config.size("base_channels"), config.sizes("channel_multiplier", maximum=MAX_COUNT)
    if not 0 < len(times) <= 16:
        raise config.error("channel_multiplier", "It must list a factor for each resolution.")
    return base, [base * factor for factor in times]


def encoder(config: Config, tree: Tree, attending: Sequence[bool], *, middle: bool = True) -> None:
    """From an image to latent channels; `attending` tells which resolutions have attention."""
    base, widths = _widths(config)
    latent = config.size("latent_channels") * (2 if config.flag("double_latent") else 1)
    tree.conv("conv_in", base, channels(config), 3, 3, bias=True)
    into, last = base, len(widths) - 1
    for index, width in enumerate(widths):
        level = tree.at(f"down.{index}")
        _level(level, config.size("num_res_blocks", maximum=MAX_COUNT), into, width, attends=attending[index])
        if index != last:
            level.conv("downsample.conv", width, width, 3, 3, bias=True)
        into = width
    _middle(tree.at("mid"), into, attends=middle)
    tree.layer_norm("norm_out", size=into)
    tree.conv("conv_out", latent, into, 3, 3, bias=True)


def decoder(config: Config, tree: Tree) -> None:
    """From latent channels to an image; the lowest resolution has attention."""
    _, widths = _widths(config)
    into, count = widths[-1], config.size("num_res_blocks", maximum=MAX_COUNT) + 1
    tree.conv("conv_in", into, config.size("latent_channels"), 3, 3, bias=True)
    _middle(tree.at("mid"), into)
    for index, width in enumerate(reversed(widths)):
        level = tree.at(f"up.{index}")
        _level(level, count, into, width, attends=index == 0)
        if index != len(widths) - 1:
            level.conv("upsample.conv", width, width, 3, 3, bias=True)
        into = width
    tree.layer_norm("norm_out", size=into)
    tree.conv("conv_out", config.size("out_channels"), into, 3, 3, bias=True)


def _codes(config: Config, tree: Tree) -> None:
    """The codebook and the pointwise convolutions to and from its width."""
    latent, width = config.size("latent_channels"), config.size("embed_dim")
    tree.put(embedding("quantize.embedding", config.size("num_embeddings"), width, Role.OTHER))
    tree.conv("quant_conv", width, latent, 1, 1, bias=True)
    tree.conv("post_quant_conv", latent, width, 1, 1, bias=True)


def janus_vq(config: Config, tree: Tree) -> None:
    """Janus's coder, both ways; the lowest resolution has attention."""
    levels = len(_widths(config)[1])
    encoder(config, tree.at("encoder"), [index == levels - 1 for index in range(levels)])
    _codes(config, tree)
    decoder(config, tree.at("decoder"))


def chameleon_vq(config: Config, tree: Tree) -> None:
    """Chameleon's coder, from image to codes only; attention at the resolutions that the file lists."""
    vanilla = config.text("attn_type", default="vanilla") == "vanilla"
    listed = config.sequence("attn_resolutions", int) or ()
    side = config.size("resolution")
    sides = [side // 2**index for index in range(len(_widths(config)[1]))]
    encoder(config, tree.at("encoder"), [vanilla and own in listed for own in sides], middle=vanilla)
    _codes(config, tree)
