"""Audio towers: Whisper-like encoders and their kin, by the `model_type` of an audio config."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks import gemma3n
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.blocks.vision import pair
from sizer.model.config import Config


def _whisper_layers(config: Config, tree: Tree, *, bias: str = "qvo") -> int:
    """Whisper's encoder layers: pre-norm attention whose keys have no bias, two-matrix MLP. Returns the size."""
    size = config.size("d_model", "hidden_size")
    layer = tree.stack("layers", config.layers("encoder_layers", "num_hidden_layers"))
    layer.at("self_attn").attention(size, bias=bias)
    layer.layer_norm("self_attn_layer_norm", "final_layer_norm", size=size)
    layer.mlp(size, config.size("encoder_ffn_dim", "intermediate_size"))
    return size


def _convolutions(config: Config, tree: Tree) -> None:
    size = config.size("d_model", "hidden_size")
    tree.conv("conv1", size, config.size("num_mel_bins"), 3, bias=True)
    tree.conv("conv2", size, size, 3, bias=True)


def whisper(config: Config, tree: Tree) -> None:
    """Whisper's encoder, as Qwen2-Audio and Voxtral have it."""
    _convolutions(config, tree)
    size = _whisper_layers(config, tree)
    tree.positions("embed_positions", config.size("max_source_positions"), size)
    tree.layer_norm("layer_norm", size=size)


def qwen2_5_omni(config: Config, tree: Tree) -> None:
    """Qwen2.5-Omni's audio tower: fixed positions, begin and end tokens, and a projection."""
    _convolutions(config, tree)
    size, out = _whisper_layers(config, tree), config.size("output_dim")
    tree.positions("audio_bos_eos_token", 2, out)
    tree.layer_norm("ln_post", size=size)
    tree.linear("proj", out, size, bias=True)


def _strided(config: Config, tree: Tree) -> None:
    """Three strided convolutions over the spectrogram, then a matrix."""
    width, bins = config.size("downsample_hidden_size"), config.size("num_mel_bins")
    for index, into in ((1, 1), (2, width), (3, width)):
        tree.conv(f"conv2d{index}", width, into, 3, 3, bias=True)
        bins = (bins + 1) // 2
    tree.linear("conv_out", config.size("d_model", "hidden_size"), width * bins)


def qwen3_omni(config: Config, tree: Tree) -> None:
    """Qwen3-Omni's audio tower: three strided convolutions over the spectrogram, then Whisper's layers."""
    _strided(config, tree)
    size = _whisper_layers(config, tree, bias="qkvo")
    tree.layer_norm("ln_post", size=size)
    tree.linear("proj1", size, size, bias=True)
    tree.linear("proj2", config.size("output_dim"), size, bias=True)


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
    tree.linear("embed.out", size, width * bins, bias=True)
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


def qwen3_asr(config: Config, tree: Tree) -> None:
    """Qwen3-ASR's audio tower: Qwen3-Omni's without the projection."""
    _strided(config, tree)
    tree.layer_norm("ln_post", size=_whisper_layers(config, tree, bias="qkvo"))


def glmasr(config: Config, tree: Tree) -> None:
    """GLM-ASR's audio tower: Whisper's convolutions, rotary positions, layers by other names."""
    _convolutions(config, tree)
    size, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv = config.size("num_key_value_heads", default=heads) * (size // heads)
    layer = tree.stack("layers", config.layers())
    layer.at("self_attn").attention(size, SPLIT_O, bias="qvo", kv=kv)
    layer.layer_norm("input_layernorm", "post_attention_layernorm", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
    tree.layer_norm("norm", size=size)


def dots3(config: Config, tree: Tree) -> None:
    """Dots 3's audio tower: strided convolutions, RMS-normed layers with fused gated MLPs, an adapter."""
    whisper_fields = config.sub("whisper_config")
    size = whisper_fields.size("d_model", default=config.size("hidden_size"))
    inner = whisper_fields.size("encoder_ffn_dim", default=config.size("intermediate_size"))
    bins = whisper_fields.size("num_mel_bins", default=config.size("feature_size"))
    count = whisper_fields.size("encoder_layers", default=config.layers())
    width, bias = config.size("downsample_hidden_size"), config.flag("attention_bias", default=True)
    for index, into in enumerate((1, width, width)):
        tree.conv(f"conv_stem.convs.{index}", width, into, 3, 3, bias=True)
    tree.linear("conv_stem.conv_out", size, width * ((bins + 7) // 8))
    layer = tree.stack("layers", count)
    layer.at("self_attn").attention(size, SPLIT_O, bias="qvo" if bias else "")
    layer.rms_norm("input_layernorm", "post_attention_layernorm", size=size)
    layer.linear("mlp.gate_up_proj", 2 * inner, size, Role.GATE_UP, bias=True)
    layer.linear("mlp.down_proj", size, inner, Role.DOWN, bias=True)
    tree.rms_norm("layer_norm", size=size)
    into = config.size("whisper_adapter_in_dim", "adapter_input_size")
    out = config.size("whisper_adapter_out_dim", "adapter_output_size", "adapter_out_dim")
    tree.layer_norm("adapter.norm", size=into)
    tree.at("adapter").mlp(into, out, out=out)


def voxtral_realtime(config: Config, tree: Tree) -> None:
    """Voxtral Realtime's audio tower: causal convolutions, RMS norms, gated MLPs with a bias on the last matrix."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    _convolutions(config, tree.at("embedder"))
    layer = tree.stack("layers", config.layers())
    width = config.size("num_attention_heads") * config.size("head_dim")
    layer.at("self_attn").attention(size, SPLIT_O, bias="qvo", inner=width)
    layer.rms_norm("self_attn_layer_norm", "final_layer_norm", size=size)
    layer.linear("mlp.gate_proj", inner, size, Role.GATE)
    layer.linear("mlp.up_proj", inner, size, Role.UP)
    layer.linear("mlp.down_proj", size, inner, Role.DOWN, bias=True)
    tree.rms_norm("norm", size=size)


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


TOWERS = {
    "granite_speech_encoder": granite,
    "granite_speech_plus_encoder": granite,
    "voxtral_realtime_encoder": voxtral_realtime,
    "qwen3_asr_encoder": qwen3_asr,
    "glmasr_encoder": glmasr,
    "dots3_note_audio_encoder": dots3,
    "phi4_multimodal_audio": phi4,
    "qwen2_audio_encoder": whisper,
    "voxtral_encoder": whisper,
    "moss_transcribe_diarize_audio": whisper,
    "qwen2_5_omni_audio_encoder": qwen2_5_omni,
    "qwen3_omni_moe_audio_encoder": qwen3_omni,
    "gemma3n_audio": gemma3n.audio,
    "gemma4_audio": gemma4,
}
