"""More vision towers: those that only one family uses."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.tree import GATED, Tree
from sizer.model.blocks.vision import VisionTower, channels, pair, patches, sam, siglip, temporal
from sizer.model.config import Config


def glm_ocr(config: Config, tree: Tree) -> None:
    """GLM-OCR: GLM-4V's tower with query and key norms, biases and no learned positions."""
    size, out = config.size("hidden_size"), config.size("out_hidden_size")
    channel, merge, bias = channels(config), config.size("spatial_merge_size"), config.flag("attention_bias")
    tree.conv("patch_embed.proj", size, channel, temporal(config), *pair(config, "patch_size"), bias=True)
    block = tree.stack("blocks", config.layers("depth", "num_hidden_layers"))
    block.rms_norm("norm1", "norm2", size=size)
    block.at("attn").fused_attention(size, bias="qo" if bias else "")
    block.rms_norm("attn.q_norm", "attn.k_norm", size=size // config.size("num_heads", "num_attention_heads"))
    block.at("mlp").gated_mlp(size, config.size("intermediate_size"), bias=bias)
    tree.linear("merger.proj", out, out)
    tree.layer_norm("merger.post_projection_norm", size=out)
    tree.at("merger").gated_mlp(out, out * channel)
    tree.conv("downsample", out, size, merge, merge, bias=True)
    tree.rms_norm("post_layernorm", size=size)


def ovis2(config: Config, tree: Tree) -> None:
    """Ovis 2: AIMv2's encoder and a head over a visual vocabulary."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    body = tree.at("transformer")
    body.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"), bias=True)
    body.positions("embeddings.position_embedding", patches(config), size)
    body.rms_norm("embeddings.rms_norm", "rms_norm", size=size)
    layer = body.stack("encoder.layers", config.layers())
    layer.at("attention").attention(size, bias="qkvo" if config.flag("qkv_bias") else "")
    layer.at("ffn").gated_mlp(size, inner, bias=config.flag("mlp_bias"))
    layer.rms_norm("rms_norm1", "rms_norm2", size=size)
    words = config.size("vocab_size") - config.size("num_visual_indicator_tokens")
    tree.linear("head_linear", words, size * config.size("hidden_stride") ** 2)
    tree.layer_norm("head_norm", size=words)


def video_llama3(config: Config, tree: Tree) -> None:
    """VideoLLaMA 3: SigLIP's layers with rotary positions."""
    size = config.size("hidden_size")
    tree.conv("embeddings.patch_embedding", size, channels(config), *pair(config, "patch_size"), bias=True)
    _siglip_layers(config, tree)
    tree.layer_norm("post_layernorm", size=size)


def _siglip_layers(config: Config, tree: Tree) -> None:
    size = config.size("hidden_size")
    layer = tree.stack("encoder.layers", config.layers())
    layer.at("self_attn").attention(size)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


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
    layer.at("mlp").mlp(size, int(size * config.number("mlp_ratio", default=4.0)))
    tree.layer_norm("post_layernorm", size=size)


def phi4(config: Config, tree: Tree) -> None:
    """Phi-4 multimodal: SigLIP's tower, always with its pooling head."""
    siglip(config, tree, head=True)


MORE_TOWERS: dict[str, VisionTower] = {
    "glm_ocr_vision": glm_ocr,
    "ovis2_vision": ovis2,
    "video_llama_3_vision": video_llama3,
    "exaone4_5_vision": exaone,
    "janus_vision_model": janus,
    "phi4_multimodal_vision": phi4,
    "pp_chart2table_vision": sam,
}
