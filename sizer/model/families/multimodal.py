"""Multimodal classes with the projectors that most share: LLaVA, Mistral 3, InternVL, Gemma, PaliGemma, Qwen-VL …"""

from __future__ import annotations

from sizer.model.blocks.tree import Tree
from sizer.model.blocks.vision import pair
from sizer.model.families.multimodal_wrapper import BOTH_TOWERS, VISION_MODEL, VISUAL, Pieces, Wrapper, feature_layers


def _llava_mlp(pieces: Pieces, tree: Tree, *, bias: bool) -> None:
    width = pieces.vision.size("hidden_size") * feature_layers(pieces.config)
    projector = tree.at("multi_modal_projector")
    projector.linear("linear_1", pieces.text_size, width, bias=bias)
    projector.linear("linear_2", pieces.text_size, pieces.text_size, bias=bias)


def llava(pieces: Pieces, tree: Tree) -> None:
    """LLaVA's two-matrix projector."""
    _llava_mlp(pieces, tree, bias=pieces.config.flag("multimodal_projector_bias", default=True))


def llava_next(pieces: Pieces, tree: Tree) -> None:
    """LLaVA-NeXT: the projector, and the embedding that ends a row of patches."""
    tree.parameter("image_newline", pieces.text_size)
    llava(pieces, tree)


def vipllava(pieces: Pieces, tree: Tree) -> None:
    """ViP-LLaVA: several layers' features, normed."""
    width = pieces.vision.size("hidden_size") * feature_layers(pieces.config)
    tree.layer_norm("multi_modal_projector.projector_layernorm", size=width)
    _llava_mlp(pieces, tree, bias=True)


def mistral3(pieces: Pieces, tree: Tree) -> None:
    """Mistral 3: a norm, a patch merger and two matrices."""
    size = pieces.vision.size("hidden_size")
    projector = tree.at("multi_modal_projector")
    projector.rms_norm("norm", size=size)
    projector.linear("patch_merger.merging_layer", size, size * pieces.config.size("spatial_merge_size") ** 2)
    _llava_mlp(pieces, tree, bias=pieces.config.flag("multimodal_projector_bias"))


def internvl(pieces: Pieces, tree: Tree) -> None:
    """InternVL: pixels shuffled into channels, a norm and two matrices."""
    ratio = pieces.config.number("downsample_ratio", default=0.5)
    if not 0 < ratio <= 1:
        raise pieces.config.error("downsample_ratio", "It must be above nought, at most one.")
    side = int(1 / ratio)
    width = pieces.vision.size("hidden_size") * side**2
    projector = tree.at("multi_modal_projector")
    projector.layer_norm("layer_norm", size=width)
    projector.mlp(width, pieces.text_size, "linear_1 linear_2", out=pieces.text_size)


def gemma3(pieces: Pieces, tree: Tree) -> None:
    """Gemma 3: a norm and one bare matrix [vision, text]."""
    size = pieces.vision.size("hidden_size")
    tree.parameter("multi_modal_projector.mm_input_projection_weight", size, pieces.text_size)
    tree.rms_norm("multi_modal_projector.mm_soft_emb_norm", size=size)


def gemma4(pieces: Pieces, tree: Tree) -> None:
    """Gemma 4: one matrix for each tower that the model has."""
    for name, field in (("embed_vision", "vision_config"), ("embed_audio", "audio_config")):
        sub = pieces.subs[field]
        if sub is not None:
            width = sub.size("output_proj_dims", "hidden_size") if field == "audio_config" else sub.size("hidden_size")
            tree.linear(f"{name}.embedding_projection", pieces.text_size, width)


def paligemma(pieces: Pieces, tree: Tree) -> None:
    """PaliGemma: one matrix to the vision config's `projection_dim`."""
    out = pieces.vision.size("projection_dim", default=pieces.config.size("projection_dim"))
    tree.linear("multi_modal_projector.linear", out, pieces.vision.size("hidden_size"), bias=True)


def idefics3(pieces: Pieces, tree: Tree) -> None:
    """Idefics 3 and SmolVLM: pixels shuffled into channels, one matrix."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("scale_factor") ** 2
    tree.linear("connector.modality_projection.proj", pieces.text_size, width)


def idefics2(pieces: Pieces, tree: Tree) -> None:
    """Idefics 2: a gated projection and a perceiver that resamples the patches."""
    perceiver, size = pieces.sub("perceiver_config"), pieces.text_size
    inner = pieces.config.sub("text_config").size("intermediate_size")
    connector = tree.at("connector")
    connector.at("modality_projection").gated_mlp(pieces.vision.size("hidden_size"), inner, out=size)
    resampler = connector.at("perceiver_resampler")
    resampler.parameter("latents", perceiver.size("resampler_n_latents"), size)
    layer = resampler.stack("layers", perceiver.layers("resampler_depth"))
    layer.rms_norm("input_latents_norm", "input_context_norm", "post_attention_layernorm", size=size)
    head = perceiver.size("resampler_head_dim")
    heads, kv_heads = perceiver.size("resampler_n_heads"), perceiver.size("num_key_value_heads")
    names = "q_proj k_proj v_proj o_proj"
    layer.at("self_attn").attention(size, names, bias="", inner=heads * head, kv=kv_heads * head)
    layer.at("mlp").gated_mlp(size, 4 * size)
    resampler.rms_norm("norm", size=size)


def cohere_vision(pieces: Pieces, tree: Tree, *, norm: bool = False) -> None:
    """Command A Vision: pixels shuffled into channels, a gated pair of matrices."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("downsample_factor") ** 2
    inner = pieces.config.size("alignment_intermediate_size", default=pieces.text_size)
    projector = tree.at("multi_modal_projector")
    if norm:
        projector.layer_norm("layernorm", size=width)
    projector.linear("linear_1", inner, width, bias=True)
    projector.linear("linear_2", pieces.text_size, inner // 2, bias=True)


def aya_vision(pieces: Pieces, tree: Tree) -> None:
    """Aya Vision: Command A Vision's projector behind a norm."""
    cohere_vision(pieces, tree, norm=True)


def llama4(pieces: Pieces, tree: Tree) -> None:
    """Llama 4: one matrix."""
    width = pieces.vision.size("vision_output_dim")
    tree.linear("multi_modal_projector.linear_1", pieces.text_size, width)


def mllama(pieces: Pieces, tree: Tree) -> None:
    """Llama 3.2 Vision: one matrix with a bias."""
    tree.linear("multi_modal_projector", pieces.text_size, pieces.vision.size("vision_output_dim"), bias=True)


def minimax_m3(pieces: Pieces, tree: Tree) -> None:
    """MiniMax-M3: a two-matrix projector for patches, another for merged patches."""
    inner, size = pieces.config.size("projector_hidden_size"), pieces.text_size
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("multi_modal_projector")
    projector.mlp(pieces.vision.size("hidden_size"), inner, "linear_1 linear_2", out=size)
    projector.mlp(merged, inner, "merge_linear_1 merge_linear_2", out=size)


def kimi_k25(pieces: Pieces, tree: Tree) -> None:
    """Kimi K2.5: a norm and two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    height, width = pair(pieces.vision, "merge_kernel_size", 2)
    projector = tree.at("mm_projector")
    projector.layer_norm("pre_norm", size=pieces.config.size("projection_hidden_size", default=size))
    merged = size * height * width
    projector.mlp(merged, merged, "in_proj out_proj", out=pieces.text_size)


def got_ocr(pieces: Pieces, tree: Tree) -> None:
    """GOT-OCR 2: two strided convolutions and a matrix."""
    width, size = pieces.vision.size("output_channels"), pieces.text_size
    projector = tree.at("multi_modal_projector")
    projector.conv("conv_upsampler1", 2 * width, width, 3, 3)
    projector.conv("conv_upsampler2", size, 2 * width, 3, 3)
    projector.linear("multimodal_projector", size, size, bias=True)


def lfm2_vl(pieces: Pieces, tree: Tree) -> None:
    """LFM2-VL: pixels shuffled into channels, an optional norm, two matrices."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("downsample_factor") ** 2
    projector, bias = tree.at("multi_modal_projector"), pieces.config.flag("projector_bias", default=True)
    if pieces.config.flag("projector_use_layernorm", default=True):
        projector.layer_norm("layer_norm", size=width)
    inner = pieces.config.size("projector_hidden_size")
    projector.mlp(width, inner, "linear_1 linear_2", bias=bias, out=pieces.text_size)


FAMILIES = {
    "llava": Wrapper(llava, ties="either"),
    "llava_next": Wrapper(llava_next),
    "llava_next_video": Wrapper(llava_next, ties="either"),
    "llava_onevision": Wrapper(llava_next, ties="either"),
    "vipllava": Wrapper(vipllava),
    "video_llava": Wrapper(llava, (("video_tower", "vision_config"), ("image_tower", "vision_config"))),
    "mistral3": Wrapper(mistral3),
    "internvl": Wrapper(internvl),
    "gemma3": Wrapper(gemma3),
    "shieldgemma2": Wrapper(gemma3, ties="either"),
    "gemma4": Wrapper(gemma4, BOTH_TOWERS),
    "paligemma": Wrapper(paligemma),
    "idefics2": Wrapper(idefics2, VISION_MODEL, text_name="text_model"),
    "idefics3": Wrapper(idefics3, VISION_MODEL, text_name="text_model"),
    "smolvlm": Wrapper(idefics3, VISION_MODEL, text_name="text_model"),
    "aya_vision": Wrapper(aya_vision),
    "cohere2_vision": Wrapper(cohere_vision),
    "llama4": Wrapper(llama4, VISION_MODEL, ties="text", prefix="", inner_head=True, text_only="Llama4ForCausalLM"),
    "minimax_m3_vl": Wrapper(minimax_m3, ties="either"),
    "kimi_k25": Wrapper(kimi_k25),
    "got_ocr2": Wrapper(got_ocr),
    "pp_chart2table": Wrapper(got_ocr),
    "lfm2_vl": Wrapper(lfm2_vl),
    "qwen2_vl": Wrapper(towers=VISUAL, ties="either", text_as="qwen2", flat=True),
    "qwen2_5_vl": Wrapper(towers=VISUAL, ties="either", text_as="qwen2", flat=True),
    "qwen3_vl": Wrapper(towers=VISUAL, text_as="qwen3"),
    "qwen3_vl_moe": Wrapper(towers=VISUAL, text_as="qwen3_moe"),
    "qwen3_5": Wrapper(towers=VISUAL, text_only="Qwen3_5ForCausalLM"),
    "qwen3_5_moe": Wrapper(towers=VISUAL, text_only="Qwen3_5MoeForCausalLM"),
}
