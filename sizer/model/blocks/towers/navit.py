"""Encoders for images of any aspect ratio: RMS norms, gated MLPs, rotary or factorized positions, mergers."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.mlp import experts, router
from sizer.model.blocks.towers.images import channels, pair, patches, temporal
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import MAX_COUNT, Config


def dots_vit(config: Config, tree: Tree) -> None:
    """dots.ocr's NaViT: gated layers without biases, RMS norms, and a merger to its own output size."""
    size, inner, patch = config.size("embed_dim"), config.size("intermediate_size"), config.size("patch_size")
    bias = config.flag("use_bias")
    tree.conv("patch_embed.patchifier.proj", size, config.size("num_channels", default=3), patch, patch, bias=True)
    tree.rms_norm("patch_embed.patchifier.norm", size=size)
    layer = tree.stack("blocks", config.layers())
    layer.rms_norm("norm1", "norm2", size=size)
    layer.at("attn").fused_attention(size, bias="qo" if bias else "")
    layer.at("mlp").gated_mlp(size, inner, "fc1 fc3 fc2", bias=bias)
    if config.flag("post_norm", default=True):
        tree.rms_norm("post_trunk_norm", size=size)
    merged = size * config.size("spatial_merge_size", default=2) ** 2
    tree.layer_norm("merger.ln_q", size=size)
    tree.at("merger").mlp(merged, merged, "mlp.0 mlp.2", out=config.size("hidden_size", default=size))


def pixtral(config: Config, tree: Tree) -> None:
    """Pixtral's vision tower: RMS norms, gated MLP, no biases, rotary positions."""
    size = config.size("hidden_size")
    tree.conv("patch_conv", size, channels(config), *pair(config, "patch_size"))
    tree.rms_norm("ln_pre", size=size)
    layer = tree.stack("transformer.layers", config.layers())
    layer.at("attention").attention(size, SPLIT_O, bias="")
    layer.at("feed_forward").gated_mlp(size, config.size("intermediate_size"))
    layer.rms_norm("attention_norm", size=size)
    layer.rms_norm("ffn_norm", size=size)


def gemma4(config: Config, tree: Tree) -> None:
    """Gemma 4's vision tower: factorized positions, four norms a layer, clipped linears without biases."""
    size = config.size("hidden_size")
    head = config.size("head_dim")
    heads, kv_heads = config.size("num_attention_heads"), config.size("num_key_value_heads")
    tree.linear("patch_embedder.input_proj", size, 3 * config.size("patch_size") ** 2)
    positions = (2, config.size("position_embedding_size"), size)
    tree.parameter("patch_embedder.position_embedding_table", *positions, role=Role.POSITION)
    layer = tree.stack("encoder.layers", config.layers())
    names = "q_proj.linear k_proj.linear v_proj.linear o_proj.linear"
    layer.at("self_attn").attention(size, names, bias="", inner=heads * head, kv=kv_heads * head)
    layer.rms_norm("self_attn.q_norm", size=head)
    layer.rms_norm("self_attn.k_norm", size=head)
    inner = config.size("intermediate_size")
    layer.at("mlp").gated_mlp(size, inner, "gate_proj.linear up_proj.linear down_proj.linear")
    for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        layer.rms_norm(f"{name}_layernorm", size=size)


def glm4v(config: Config, tree: Tree) -> None:
    """GLM-4V's vision tower with its downsampling and merger, which belong to it."""
    size, out = config.size("hidden_size"), config.size("out_hidden_size")
    inner, merge = config.size("intermediate_size"), config.size("spatial_merge_size")
    tree.positions("embeddings.position_embedding", patches(config), size)
    tree.conv("patch_embed.proj", size, channels(config), temporal(config), *pair(config, "patch_size"), bias=True)
    layer = tree.stack("blocks", config.layers("depth", "num_hidden_layers"))
    layer.rms_norm("norm1", size=size)
    layer.rms_norm("norm2", size=size)
    layer.at("attn").fused_attention(size, bias="q" if config.flag("attention_bias") else "")
    layer.at("mlp").gated_mlp(size, out)
    tree.linear("merger.proj", out, out)
    tree.layer_norm("merger.post_projection_norm", size=out)
    tree.at("merger").gated_mlp(out, inner)
    tree.rms_norm("post_conv_layernorm", size=size)
    tree.conv("downsample", out, size, merge, merge, bias=True)
    tree.rms_norm("post_layernorm", size=size)


def kimi_k25(config: Config, tree: Tree) -> None:
    """MoonViT as in Kimi K2.5: learned 2-D positions and biased attention."""
    size = config.size("hidden_size")
    tree.conv("patch_embed.proj", size, channels(config), *pair(config, "patch_size"), bias=True)
    height, width = config.size("pos_emb_height"), config.size("pos_emb_width")
    tree.parameter("patch_embed.pos_emb.position_embeddings", height, width, size, role=Role.POSITION)
    layer = tree.stack("layers", config.layers())
    layer.layer_norm("norm1", "norm2", size=size)
    layer.at("attn").attention(size, "q_proj k_proj v_proj proj")
    layer.at("mlp").mlp(size, config.size("intermediate_size"))
    tree.layer_norm("final_layernorm", size=size)


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
    types = config.layer_types(count, "mlp_layer_types")
    if types is None or config.first("pyramid_num_routed")[1] is not None:
        usual = (*(-1,) * 25, *range(4, 65, 4), 64)
        pyramid = config.sizes("pyramid_num_routed", default=usual, minimum=-1, maximum=MAX_COUNT)
        if len(pyramid) != count:
            raise config.error("pyramid_num_routed", f"It must have an entry for each of {count} layers.")
        return tuple(max(experts_here, 0) for experts_here in pyramid)
    return tuple(
        config.layer(index).size("num_local_experts") if kind == "sparse" else 0 for index, kind in enumerate(types)
    )


def lfm3(config: Config, tree: Tree) -> None:
    """LFM3-VL: short 2-D convolutions among attention layers."""
    size, count = config.size("hidden_size"), config.layers()
    height, width = pair(config, "patch_size")
    patch = channels(config) * config.size("temporal_patch_size") * height * width
    types = config.layer_types(count) or tuple("conv" if i < 2 or i % 2 else "full_attention" for i in range(count))
    tree.linear("patch_embed", size, patch)
    layer = tree.stack("layers", count)
    layer.at("feed_forward").gated_mlp(size, config.size("intermediate_size"), "w1 w3 w2")
    layer.rms_norm("operator_norm", "ffn_norm", size=size)
    conv = tree.at("layers.{layer}.conv", (index for index in range(count) if types[index] == "conv"))
    kernel = config.size("conv_kernel_size")
    conv.linear("in_proj", 3 * size, size)
    conv.conv("spatial_conv", size, 1, kernel, kernel)
    conv.linear("out_proj", size, size)
    attending = tree.at("layers.{layer}.self_attn", (index for index in range(count) if types[index] != "conv"))
    head = size // config.size("num_attention_heads")
    attending.attention(size, bias="", kv=config.size("num_key_value_heads") * head)
    attending.rms_norm("q_norm", "k_norm", size=head)
    tree.rms_norm("embedding_norm", size=size)


def pix2struct(config: Config, tree: Tree) -> None:
    """Flattened patches with learned rows and columns; layers without biases, gated, behind RMS norms."""
    size = config.size("hidden_size")
    head = config.size("d_kv", "head_dim")
    embeddings = tree.at("embeddings")
    embeddings.linear("patch_projection", size, config.size("patch_embed_hidden_size"), bias=True)
    rows = config.size("seq_len", "max_num_patches")
    embeddings.positions("row_embedder", rows, size)
    embeddings.positions("column_embedder", rows, size)
    layer = tree.stack("encoder.layer", config.layers())
    inner = config.size("num_attention_heads") * head
    layer.at("attention").attention(size, "query key value output", bias="", inner=inner)
    layer.at("mlp").gated_mlp(size, config.size("d_ff", "intermediate_size"), "wi_0 wi_1 wo")
    layer.rms_norm("pre_mlp_layer_norm", "pre_attention_layer_norm", size=size)
    tree.rms_norm("layernorm", size=size)
