"""Gemma 3n's towers: a conformer for audio, and a MobileNet for images that its config does not describe."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config

# Parameters of timm's encoders, which the config names and nothing in it sizes. MobileNetV5-300M: the published totals
# of gemma-3n-E2B (5,439,438,272) and of gemma-3n-E4B (7,849,978,192), less every other tensor that they store, both
# leave this number; timm's own listing says 294.13M.
TIMM_PARAMS = {"mobilenetv5_300m_enc": 294_126_912}


def vision(config: Config, tree: Tree) -> None:
    """The timm encoder as one lump."""
    name = config.text("architecture")
    if name not in TIMM_PARAMS:
        raise config.error("architecture", f"Only the sizes of {', '.join(TIMM_PARAMS)} are known.")
    tree.parameter("timm_model", TIMM_PARAMS[name])


def audio(config: Config, tree: Tree) -> None:
    """Gemma 3n's audio tower: strided convolutions, then conformer blocks without biases."""
    size, bins = config.size("hidden_size"), config.size("input_feat_size")
    sub, into = tree.at("subsample_conv_projection"), 1
    channels = config.sequence("sscp_conv_channel_size") or (128, 32)
    kernels = config.sequence("sscp_conv_kernel_size") or ((3, 3), (3, 3))
    strides = config.sequence("sscp_conv_stride_size") or ((2, 2), (2, 2))
    for index, (out, kernel, stride) in enumerate(zip(channels, kernels, strides, strict=True)):
        sub.conv(f"conv_{index}.conv", out, into, kernel[0], kernel[1])
        sub.rms_norm(f"conv_{index}.norm", size=out)
        bins, into = (bins + 2 - kernel[1]) // stride[1] + 1, out
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
