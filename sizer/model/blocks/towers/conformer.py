"""Conformers: encoders of sound with convolutions between attention and two half feed-forwards."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.towers.images import pair
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config


def gemma4(config: Config, tree: Tree) -> None:
    """Gemma 4's audio tower: a conformer with clipped linears (their limits are buffers) and no biases."""
    size = config.size("hidden_size")
    first, second = pair(config, "subsampling_conv_channels")
    subsample = tree.at("subsample_conv_projection")
    for name, out, into in (("layer0", first, 1), ("layer1", second, first)):
        subsample.conv(f"{name}.conv", out, into, 3, 3)
        subsample.rms_norm(f"{name}.norm", size=out)
    subsample.linear("input_proj_linear", size, first // 4 * second)
    heads = config.size("num_attention_heads")
    layer = tree.stack("layers", config.layers())
    for name in ("feed_forward1", "feed_forward2"):
        half = layer.at(name)
        half.mlp(size, 4 * size, "ffw_layer_1.linear ffw_layer_2.linear", bias=False)
        half.rms_norm("pre_layer_norm", "post_layer_norm", size=size)
    attention = layer.at("self_attn")
    names = "q_proj.linear k_proj.linear v_proj.linear post.linear"
    attention.attention(size, names, bias="")
    attention.linear("relative_k_proj", size, size)
    attention.parameter("per_dim_scale", size // heads)
    conv = layer.at("lconv1d")
    conv.linear("linear_start.linear", 2 * size, size)
    conv.linear("linear_end.linear", size, size)
    conv.conv("depthwise_conv1d", size, 1, config.size("conv_kernel_size"))
    conv.rms_norm("pre_layer_norm", "conv_norm", size=size)
    layer.rms_norm("norm_pre_attn", "norm_post_attn", "norm_out", size=size)
    tree.linear("output_proj", config.size("output_proj_dims"), size, bias=True)


def phi4(config: Config, tree: Tree) -> None:
    """Phi-4 multimodal's speech encoder: strided convolutions and a conformer with gated pointwise convolutions."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    width, bins = config.size("nemo_conv_channels"), config.size("input_size")
    halvings = config.size("time_reduction").bit_length() - 1
    for index in range(halvings):
        bins = (bins + 1) // 2
        # After the first, each halving is a depthwise and a pointwise convolution with an activation behind.
        place = 3 * index - 1 if index else 0
        tree.conv(f"embed.conv.{place}", width, 1, 3, 3, bias=True)
        if index:
            tree.conv(f"embed.conv.{place + 1}", width, width, 1, 1, bias=True)
    tree.linear("embed.out", size, width * (config.optional_size("nemo_final_size") or bins), bias=True)
    buckets = config.size("bias_max_distance") * (1 if config.flag("bias_symmetric") else 2)
    heads = config.size("num_attention_heads")
    tree.positions("relative_attention_bias_layer.bias_values", buckets, heads)
    layer = tree.stack("encoders", config.layers("num_blocks"))
    for name in ("feed_forward_in", "feed_forward_out"):
        layer.layer_norm(f"{name}.layer_norm", size=size)
        layer.linear(f"{name}.gate_up_proj", 2 * inner, size, Role.GATE_UP, bias=True)
        layer.linear(f"{name}.down_proj", size, inner, Role.DOWN, bias=True)
    layer.at("self_attn").attention(size, "q_proj k_proj v_proj o_proj")
    layer.layer_norm("layer_norm_att", "layer_norm", size=size)
    conv, out = layer.at("conv"), config.size("ext_pw_out_channel")
    separable, kernel = config.size("depthwise_separable_out_channel"), config.size("kernel_size")
    many = size * config.size("depthwise_multiplier")
    conv.layer_norm("layer_norm", size=size)
    conv.parameter("glu.b1", 1, out, 1)
    conv.parameter("glu.b2", 1, out, 1)
    conv.conv("glu.ext_pw_conv_1d", 2 * out, size, 1, bias=True)
    conv.conv("dw_sep_conv_1d.dw_conv", many, 1, kernel, bias=True)
    conv.conv("dw_sep_conv_1d.pw_conv", separable, many, 1, bias=True)
    conv.conv("ext_pw_conv_1d", out, size, 1, bias=True)


def granite(config: Config, tree: Tree) -> None:
    """Granite Speech's conformer: two half feed-forwards, blockwise attention with relative positions, convolutions."""
    size, out, heads = config.size("hidden_dim", "hidden_size"), config.size("output_dim"), config.size("num_heads")
    head = config.optional_size("dim_head") or size // heads
    inner, wide = size * config.size("feedforward_mult"), size * config.size("conv_expansion_factor")
    tree.linear("input_linear", size, config.size("input_dim"), bias=True)
    layer = tree.stack("layers", config.layers("num_layers", "num_hidden_layers"))
    for name in ("ff1", "ff2"):
        layer.at(name).layer_norm("pre_norm", size=size)
        layer.at(name).mlp(size, inner, "up_proj down_proj")
    attn, conv = layer.at("attn"), layer.at("conv")
    attn.layer_norm("pre_norm", size=size)
    attn.linear("to_q", heads * head, size, Role.Q)
    attn.linear("to_kv", 2 * heads * head, size, Role.QKV)
    attn.linear("to_out", size, heads * head, Role.O, bias=True)
    attn.positions("rel_pos_emb", 2 * config.size("max_pos_emb") + 1, head)
    conv.layer_norm("norm", size=size)
    conv.conv("up_conv", 2 * wide, size, 1, bias=True)
    conv.conv("depth_conv.conv", wide, 1, config.size("conv_kernel_size"))
    conv.layer_norm("batch_norm", size=wide)
    conv.conv("down_conv", size, wide, 1, bias=True)
    layer.layer_norm("post_norm", size=size)
    tree.linear("out", out, size, bias=True)
    tree.linear("out_mid", size, out, bias=True)


def _pairs(config: Config, name: str, count: int, usual: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """A pair of sizes for each of `count` convolutions; `usual` for all where the file gives none."""
    listed = config.sequence(name)
    if listed is None:
        return (usual,) * count
    if len(listed) != count:
        raise config.error(name, f"It must be a list of {count} pairs.")
    return tuple(Config({name: entry}, path=config.path).sizes(name, count=2) for entry in listed)


def gemma3n(config: Config, tree: Tree) -> None:
    """Gemma 3n's audio tower: strided convolutions, then conformer blocks without biases."""
    size, bins = config.size("hidden_size"), config.size("input_feat_size")
    sub, into = tree.at("subsample_conv_projection"), 1
    channels = config.sizes("sscp_conv_channel_size", default=(128, 32))
    kernels = _pairs(config, "sscp_conv_kernel_size", len(channels), (3, 3))
    strides = _pairs(config, "sscp_conv_stride_size", len(channels), (2, 2))
    for index, (out, kernel, stride) in enumerate(zip(channels, kernels, strides, strict=True)):
        sub.conv(f"conv_{index}.conv", out, into, *kernel)
        sub.rms_norm(f"conv_{index}.norm", size=out)
        bins, into = (bins + 2 - kernel[1]) // stride[1] + 1, out
    if bins < 1:
        raise config.error("sscp_conv_kernel_size", "It must not be wider than the spectrogram.")
    sub.linear("input_proj_linear", size, into * bins)
    block = tree.stack("conformer", config.layers("conf_num_hidden_layers"))
    for name in ("ffw_layer_start", "ffw_layer_end"):
        block.at(name).mlp(size, 4 * size, "ffw_layer_1 ffw_layer_2", bias=False)
        block.at(name).rms_norm("pre_layer_norm", "post_layer_norm", size=size)
    attention = block.at("attention")
    for name, role in (("q_proj", Role.Q), ("k_proj", Role.K), ("v_proj", Role.V)):
        attention.linear(f"attn.{name}", size, size, role)
    attention.linear("attn.relative_position_embedding.pos_proj", size, size)
    attention.parameter("attn.per_dim_scale", size // config.size("conf_num_attention_heads"))
    attention.linear("post", size, size, Role.O)
    attention.rms_norm("pre_attn_norm", "post_norm", size=size)
    conv = block.at("lconv1d")
    conv.linear("linear_start", 2 * size, size)
    conv.linear("linear_end", size, size)
    conv.conv("depthwise_conv1d", size, 1, config.size("conf_conv_kernel_size"))
    conv.rms_norm("pre_layer_norm", "conv_norm", size=size)
    block.rms_norm("norm", size=size)
