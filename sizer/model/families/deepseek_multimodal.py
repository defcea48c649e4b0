"""DeepSeek's readers and painters: DeepSeek-VL, Janus, DeepSeek-OCR 1 and 2, and Unlimited-OCR of their kin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.core import Parts, embedding
from sizer.model.blocks.towers.clip import clip
from sizer.model.blocks.towers.sam import sam
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import two_matrices, with_towers
from sizer.model.shapes.decoder import PRE_NORMS, Decoder
from sizer.model.shapes.experts import FirstDense, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import Attention, Mlp, heads
from sizer.model.shapes.windows import FULL, Window
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper


def hybrid_aligner(pieces: Pieces, tree: Tree) -> None:
    """DeepSeek-VL's two resolutions: a second neck and strides for SAM's features, half the text's width each."""
    high, half, out = pieces.sub("high_res_vision_config"), pieces.text_size // 2, pieces.text_size
    size, channel = high.size("hidden_size"), high.size("output_channels")
    neck, strides, aligner = (
        tree.at("high_res_vision_neck"),
        tree.at("high_res_vision_proj"),
        tree.at("aligner"),
    )
    neck.conv("conv1", channel, size, 1, 1)
    neck.conv("conv2", channel, channel, 3, 3)
    neck.layer_norm("layer_norm1", "layer_norm2", size=channel)
    strides.conv("conv1", 2 * channel, channel, 3, 3)
    strides.conv("conv2", 4 * channel, 2 * channel, 3, 3)
    tree.parameter("high_res_vision_alpha", 1)
    aligner.linear("vision_proj", half, pieces.vision.size("hidden_size"), bias=True)
    aligner.linear("high_res_vision_proj", half, 4 * channel, bias=True)
    aligner.linear("proj", out, out, bias=True)


HYBRID_TOWERS = (("high_res_vision_model", "high_res_vision_config"), *VISION_MODEL)


OCR_MOE = Moe(
    "n_routed_experts",
    sparse=FirstDense(first=1),
    dense=Mlp(),
    shared=("moe_intermediate_size", "n_shared_experts"),
    shared_bias="mlp_bias",
)


def _ocr_windows(config: Config, count: int) -> Sequence[Window]:
    """Full attention; `reference_sliding_attention` keeps image and prompt whole, so its window bounds nothing here."""
    known = {"full_attention", "reference_sliding_attention"}
    for name in config.layer_types(count) or ():
        if name not in known:
            raise config.error("layer_types", f"Each must be one of {', '.join(sorted(known))}.")
    return (FULL,) * count


OCR_TEXT = Decoder(Attention(windows=_ocr_windows), OCR_MOE)


def _stated_sparse(config: Config, count: int) -> Sequence[bool]:
    """DeepSeek-OCR 2 has no default for which layers are dense: the file must say."""
    if config.sequence("mlp_layer_types") is None and config.fields.get("first_k_dense_replace") is None:
        raise config.error("mlp_layer_types", f"It must be a list of {count} names, dense or sparse.")
    return FirstDense(first=1)(config, count)


OCR2_TEXT = Decoder(OCR_TEXT.attention, replace(OCR_MOE, sparse=_stated_sparse))


# The towers that DeepSeek-OCR's code builds whatever the file says: SAM ViT-B at 1024 pixels, CLIP ViT-L/14 at 224.
SAM_B = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "output_channels": 256, "image_size": 1024,
    "patch_size": 16, "window_size": 14, "global_attn_indexes": [2, 5, 8, 11], "downsample_channels": [512, 1024],
}  # fmt: skip
CLIP_L_224 = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 14,
}  # fmt: skip


def _strided_sam(config: Config, tree: Tree) -> int:
    """SAM's encoder and two strided convolutions; returns the channels it puts out."""
    sam(config, tree)
    first, last = _downsampling(config)
    tree.conv("proj.conv1", first, config.size("output_channels"), 3, 3)
    tree.conv("proj.conv2", last, first, 3, 3)
    return last


def _downsampling(config: Config) -> tuple[int, int]:
    first, last = config.sizes("downsample_channels", count=2, default=(512, 896))
    return first, last


def unlimited(pieces: Pieces, tree: Tree) -> None:
    """Unlimited-OCR: SAM and CLIP, their features side by side through one matrix, two separators."""
    high, encoder = pieces.vision.sub("sam_config"), pieces.vision.sub("encoder_config")
    tower = tree.at("vision_tower", tower=Tower.VISION)
    channels = _strided_sam(high, tower.at("sam_encoder"))
    clip(encoder, tower.at("vision_encoder"), embeds=False, last_norm=False)
    tree.linear("multi_modal_projector", pieces.text_size, channels + encoder.size("hidden_size"), bias=True)
    tree.parameter("view_separator", pieces.text_size)
    tree.parameter("image_newline", pieces.text_size)


def deepseek_ocr2(pieces: Pieces, tree: Tree) -> None:
    """DeepSeek-OCR 2: SAM's features and learned queries through a Qwen2-like encoder, one matrix, a separator."""
    high, encoder = pieces.vision.sub("sam_config"), pieces.vision.sub("encoder_config")
    size, tower = encoder.size("hidden_size"), tree.at("vision_tower", tower=Tower.VISION)
    _strided_sam(high, tower.at("sam_encoder"))
    layer, sizes = tower.stack("vision_encoder.layers", encoder.layers()), heads(encoder)
    inner, kv = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    layer.at("self_attn").attention(size, SPLIT_O, bias="qkv", inner=inner, kv=kv)
    layer.at("mlp").gated_mlp(size, encoder.size("intermediate_size"))
    layer.rms_norm(*PRE_NORMS, size=size)
    tower.rms_norm("vision_encoder.norm", size=size)
    tower.positions("query_768_resolution", 144, size)
    tower.positions("query_1024_resolution", 256, size)
    tree.linear("multi_modal_projector", pieces.text_size, size, bias=True)
    tree.parameter("view_separator", pieces.text_size)


def deepseek_ocr(config: Config) -> Parts:
    """DeepSeek-OCR as its own code builds it: its `language_config` beside towers that the code fixes."""
    language = config.sub("language_config") if config.fields.get("language_config") else config
    defaults = Config.of({}, "unlimited_ocr_text").class_defaults
    parts = OCR_TEXT(Config({**language.fields, "sliding_window": None}, defaults, language.path))
    tower, joint = Tree("model."), Tree("model.", tower=Tower.PROJECTOR)
    channels = _strided_sam(Config(SAM_B), tower.at("sam_model"))
    clip(Config(CLIP_L_224), tower.at("vision_model"), last_norm=False)
    joint.linear("projector.layers", parts.hidden_size, channels + CLIP_L_224["hidden_size"], bias=True)
    joint.parameter("image_newline", parts.hidden_size)
    joint.parameter("view_seperator", parts.hidden_size)
    return with_towers(parts, tower, joint)


def janus(pieces: Pieces, tree: Tree) -> None:
    """Janus: a projector for what it sees; tables, projector and head for the codes that it writes."""
    vision, codes = pieces.vision, pieces.sub("vq_config")
    width, rows = codes.size("projection_dim"), codes.size("num_embeddings")
    _matrices(tree.at("aligner"), vision.size("hidden_size"), vision.size("projection_dim"), vision.layers("depth"))
    tree.put(embedding("generation_embeddings", rows, codes.size("embed_dim"), Role.OTHER))
    _matrices(tree.at("generation_aligner"), codes.size("embed_dim"), width, codes.layers("num_hidden_layers"))
    head = tree.at("generation_head")
    head.linear("proj_out", width, codes.size("image_token_embed_dim"), bias=True)
    head.linear("vision_head", rows, width, bias=True)


def _matrices(tree: Tree, into: int, out: int, count: int) -> None:
    """`count` matrices with biases, all but the first square."""
    tree.linear("fc1", out, into, bias=True)
    for index in range(count - 1):
        tree.linear(f"hidden_layers.{index}", out, out, bias=True)


FAMILIES: dict[str, Family] = {
    "deepseek_vl_hybrid": Wrapper(hybrid_aligner, HYBRID_TOWERS),
    "deepseek_vl": Wrapper(two_matrices("aligner", "linear1 linear2"), VISION_MODEL),
    "unlimited_ocr": Wrapper(unlimited, (("", "vision_config"),), text_as=OCR_TEXT),
    "deepseek_ocr2": Wrapper(deepseek_ocr2, (("", "vision_config"),), text_as=OCR2_TEXT),
    "DeepseekOCR": deepseek_ocr,
    "janus": Wrapper(janus, (("vision_model", "vision_config"), ("vqmodel", "vq_config"))),
}
