"""More vision towers: those that only one family uses."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.mlp import experts, router
from sizer.model.blocks.tree import GATED, Tree
from sizer.model.blocks.vision import (
    VisionTower,
    channels,
    clip_layers,
    internvl,
    joined_vit,
    pair,
    patches,
    sam,
    siglip,
    temporal,
)
from sizer.model.config import Config


def glm_ocr(config: Config, tree: Tree, merged: int | None = None) -> None:
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
    tree.at("merger").gated_mlp(out, out * channel if merged is None else merged)
    tree.conv("downsample", out, size, merge, merge, bias=True)
    tree.rms_norm("post_layernorm", size=size)


def glm5_next(config: Config, tree: Tree) -> None:
    """GLM-5.3: GLM-OCR's tower with a merger of a stated width."""
    glm_ocr(config, tree, config.size("projection_intermediate_size"))


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
    clip_layers(config, tree)
    tree.layer_norm("post_layernorm", size=size)


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
    layer.at("mlp").mlp(size, config.scaled(size, "mlp_ratio", default=4.0))
    tree.layer_norm("post_layernorm", size=size)


def phi4(config: Config, tree: Tree) -> None:
    """Phi-4 multimodal: SigLIP's tower, always with its pooling head."""
    siglip(config, tree, head=True)


def blip2(config: Config, tree: Tree) -> None:
    """BLIP-2's ViT. The three biases come as one where `qkv_bias` says so, and not at all otherwise."""
    joined_vit(config, tree, bias="qo" if config.flag("qkv_bias", default=True) else "o")


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


def minicpm(config: Config, tree: Tree) -> None:
    """MiniCPM-V 4.6: SigLIP's encoder, with a merger by window attention between its layers."""
    siglip(config, tree, head=False)
    size = config.size("hidden_size")
    height, width = config.sequence("window_kernel_size") or (2, 2)
    merger, merged = tree.at("vit_merger"), height * width
    merger.at("self_attn").attention(size)
    merger.layer_norm("layer_norm1", size=size)
    merger.layer_norm("pre_norm", size=merged * size)
    merger.mlp(merged * size, merged * config.size("intermediate_size"), "linear_1 linear_2", out=size)


def qianfan(config: Config, tree: Tree) -> None:
    """Qianfan OCR: InternViT with its layers one scope up."""
    inner = Tree()
    internvl(config, inner)
    for tensor in inner.tensors:
        name = tensor.name.replace("encoder.layer.", "layers.")
        tree.tensors.append(replace(tensor, name=tree.prefix + name, tower=tree.tower))


def paddle(config: Config, tree: Tree) -> None:
    """PaddleOCR-VL: SigLIP's encoder without a head."""
    siglip(config, tree.at("vision_model"), head=False)


def dots3(config: Config, tree: Tree) -> None:
    """Dots 3: gated MLPs below, more and more experts above, and a merger."""
    size, inner = config.size("embed_dim", "hidden_size"), config.size("intermediate_size")
    head = size // config.size("num_heads", "num_attention_heads")
    count = config.layers()
    tree.conv("patch_embed.proj", size, channels(config), *pair(config, "patch_size"), bias=True)
    tree.rms_norm("patch_embed.norm", "norm", size=size)
    block = tree.stack("blocks", count)
    block.rms_norm("norm1", "norm2", size=size)
    block.at("attn").fused_attention(size, bias="qo" if config.flag("use_bias", "attention_bias") else "")
    block.rms_norm("attn.q_norm", "attn.k_norm", size=head)
    routed = _dots3_experts(config, count)
    dense = tree.at("blocks.{layer}", (index for index in range(count) if not routed[index]))
    dense.at("mlp").gated_mlp(size, inner, bias=config.flag("mlp_bias"))
    active, width = (
        config.size("num_experts_per_tok", "capacity_factor", default=2),
        config.size("moe_intermediate_size"),
    )
    for experts_here in sorted(set(routed) - {0}):
        sparse = tree.at("blocks.{layer}", (index for index in range(count) if routed[index] == experts_here))
        chosen = min(active, experts_here)
        sparse.put(experts(size, width, experts_here, chosen), router(size, experts_here))
    out, merged = config.size("adapter_out_dim"), config.size("adapter_in_dim") * config.size("adapter_merge_size") ** 2
    tree.layer_norm("merger.ln_q", size=config.size("adapter_in_dim"))
    tree.at("merger").mlp(merged, merged, "mlp.0 mlp.2", out=out)


def _dots3_experts(config: Config, count: int) -> tuple[int, ...]:
    """Experts of each layer, nought where it is dense: `pyramid_num_routed`, else `mlp_layer_types`, else a pyramid."""
    pyramid, types = config.sequence("pyramid_num_routed"), config.layer_types(count, "mlp_layer_types")
    if pyramid is None and types is None:
        pyramid = (*(-1,) * 25, *range(4, 65, 4), 64)
    if pyramid is not None:
        if len(pyramid) != count:
            raise config.error("pyramid_num_routed", f"It must have an entry for each of {count} layers.")
        return tuple(max(int(experts_here), 0) for experts_here in pyramid)
    return tuple(
        config.layer(index).size("num_local_experts") if kind == "sparse" else 0
        for index, kind in enumerate(types or ())
    )


TOWERS: dict[str, VisionTower] = {
    "glm_ocr_vision": glm_ocr,
    "glm5_next_vision": glm5_next,
    "ovis2_vision": ovis2,
    "video_llama_3_vision": video_llama3,
    "exaone4_5_vision": exaone,
    "janus_vision_model": janus,
    "phi4_multimodal_vision": phi4,
    "pp_chart2table_vision": sam,
    "blip_2_vision_model": blip2,
    "instructblip_vision_model": blip2,
    "instructblipvideo_vision_model": blip2,
    "ernie4_5_vl_moe_vision": ernie_vl,
    "minicpmv4_6_vision": minicpm,
    "minicpmv4_7_vision": minicpm,
    "minicpm_ocr_vision": minicpm,
    "qianfan_ocr_vision": qianfan,
    "paddleocr_vl_vision": paddle,
    "dots3_note_vision_encoder": dots3,
}
