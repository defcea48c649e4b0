"""Whisper's encoder (convolutions over a spectrogram, then layers) and those built on it."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.tree import SPLIT_O, Tree
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
