"""Qwen-VL's encoders over patches in space and time, with their mergers, and those built on them."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.towers.images import channels, pair, temporal
from sizer.model.blocks.tree import GATED, Tree
from sizer.model.config import Config


def _patches(config: Config, tree: Tree, size: int, *, bias: bool) -> None:
    frames = temporal(config)
    tree.conv("patch_embed.proj", size, channels(config), frames, *pair(config, "patch_size"), bias=bias)


def _blocks(config: Config, tree: Tree) -> Tree:
    return tree.stack("blocks", config.layers("depth", "num_hidden_layers"))


def _merger(config: Config, tree: Tree, names: str = "mlp.0 mlp.2") -> tuple[Tree, int, str]:
    return tree.at("merger"), config.size("spatial_merge_size") ** 2, names


def qwen2_vl(config: Config, tree: Tree) -> None:
    """Qwen2-VL: layer norms and a two-matrix MLP; `hidden_size` is the size that the merger puts out."""
    size = config.size("embed_dim")
    _patches(config, tree, size, bias=False)
    block = _blocks(config, tree)
    block.layer_norm("norm1", "norm2", size=size)
    block.at("attn").fused_attention(size)
    block.at("mlp").mlp(size, config.scaled(size, "mlp_ratio", default=4))
    merger, merged, names = _merger(config, tree)
    merger.layer_norm("ln_q", size=size)
    merger.mlp(merged * size, merged * size, names, out=config.size("hidden_size"))


def qwen2_5_vl(config: Config, tree: Tree, fused: bool = True) -> None:
    """Qwen2.5-VL: RMS norms and a gated MLP with biases."""
    size = config.size("hidden_size")
    _patches(config, tree, size, bias=False)
    block = _blocks(config, tree)
    block.rms_norm("norm1", "norm2", size=size)
    if fused:
        block.at("attn").fused_attention(size)
    else:
        block.at("attn").attention(size, "q k v proj")
    block.at("mlp").gated_mlp(size, config.size("intermediate_size"), GATED, bias=True)
    merger, merged, names = _merger(config, tree)
    merger.rms_norm("ln_q", size=size)
    merger.mlp(merged * size, merged * size, names, out=config.size("out_hidden_size"))


def qwen2_5_omni(config: Config, tree: Tree) -> None:
    """Qwen2.5-Omni: Qwen2.5-VL's tower with q, k and v apart."""
    qwen2_5_vl(config, tree, fused=False)


def _qwen3(config: Config, tree: Tree) -> tuple[int, int, int]:
    """The body of Qwen3-VL's tower; returns the size, the merged size and the size put out."""
    size = config.size("hidden_size")
    _patches(config, tree, size, bias=True)
    tree.positions("pos_embed", config.size("num_position_embeddings"), size)
    block = _blocks(config, tree)
    block.layer_norm("norm1", "norm2", size=size)
    block.at("attn").fused_attention(size)
    block.at("mlp").mlp(size, config.size("intermediate_size"), "linear_fc1 linear_fc2")
    return size, size * config.size("spatial_merge_size") ** 2, config.size("out_hidden_size")


def qwen3_vl(config: Config, tree: Tree) -> None:
    """Qwen3-VL: learned positions, and a merger for each layer whose features go straight to the text model."""
    size, merged, out = _qwen3(config, tree)
    deep = len(config.sequence("deepstack_visual_indexes", int) or ())
    for scope, width in ((tree.at("merger"), size), (tree.stack("deepstack_merger_list", deep), merged)):
        scope.layer_norm("norm", size=width)
        scope.mlp(merged, merged, "linear_fc1 linear_fc2", out=out)


def qwen3_5(config: Config, tree: Tree) -> None:
    """Qwen3.5: Qwen3-VL's tower with the one merger."""
    size, merged, out = _qwen3(config, tree)
    tree.layer_norm("merger.norm", size=size)
    tree.at("merger").mlp(merged, merged, "linear_fc1 linear_fc2", out=out)


def qwen3_omni(config: Config, tree: Tree) -> None:
    """Qwen3-Omni: Qwen3-VL's tower with its mergers by other names."""
    size, merged, out = _qwen3(config, tree)
    deep = len(config.sequence("deepstack_visual_indexes", int) or ())
    for scope, width in ((tree.at("merger"), size), (tree.stack("merger_list", deep), merged)):
        scope.layer_norm("ln_q", size=width)
        scope.mlp(merged, merged, "mlp.0 mlp.2", out=out)


def exaone(config: Config, tree: Tree) -> None:
    """EXAONE 4.5: Qwen2.5-VL's tower with grouped key and value heads."""
    size, heads = config.size("hidden_size"), config.size("num_heads", "num_attention_heads")
    head, merged = size // heads, size * config.size("spatial_merge_size") ** 2
    rows = (heads + 2 * config.size("num_key_value_heads")) * head
    tree.conv("patch_embed.proj", size, channels(config), temporal(config), *pair(config, "patch_size"))
    block = tree.stack("blocks", config.layers("depth", "num_hidden_layers"))
    block.rms_norm("norm1", "norm2", size=size)
    block.linear("attn.qkv", rows, size, Role.QKV, bias=True)
    block.linear("attn.proj", size, size, Role.O, bias=True)
    block.at("mlp").gated_mlp(size, config.size("intermediate_size"), GATED, bias=True)
    tree.rms_norm("merger.ln_q", size=size)
    tree.at("merger").mlp(merged, merged, "mlp.0 mlp.2", out=config.size("out_hidden_size"))


def ernie_vl(config: Config, tree: Tree) -> None:
    """Ernie 4.5 VL's tower: Qwen2-VL's blocks over patches embedded by a linear layer."""
    size = config.size("hidden_size")
    height, width = pair(config, "patch_size")
    tree.linear("patch_embed.proj", size, channels(config) * height * width)
    block = tree.stack("blocks", config.layers("depth", "num_hidden_layers"))
    block.layer_norm("norm1", "norm2", size=size)
    block.at("attn").fused_attention(size)
    block.at("mlp").mlp(size, config.size("intermediate_size"))
    tree.layer_norm("ln", size=size)
