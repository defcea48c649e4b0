"""DeepSeek's readers of pages and their kin: SAM before a second encoder, beside a small mixture of experts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.blocks.vision import clip, sam
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, Decoder
from sizer.model.families.experts import FirstDense, Moe
from sizer.model.families.multimodal_wrapper import Pieces, Wrapper
from sizer.model.families.remote_vision import with_towers
from sizer.model.families.rules import UNBIASED, Attention, Mlp, heads
from sizer.model.families.windows import FULL, Window, max_window_layers

MOE = Moe(
    "n_routed_experts",
    sparse=FirstDense(first=1),
    dense=Mlp(),
    shared=("moe_intermediate_size", "n_shared_experts"),
    shared_bias="mlp_bias",
)


def _windows(config: Config, count: int) -> Sequence[Window]:
    """Full attention; `reference_sliding_attention` keeps image and prompt whole, so its window bounds nothing here."""
    known = {"full_attention", "reference_sliding_attention"}
    for name in config.layer_types(count) or ():
        if name not in known:
            raise config.error("layer_types", f"Each must be one of {', '.join(sorted(known))}.")
    return (FULL,) * count


TEXT = Decoder(Attention(windows=_windows), MOE)


def _stated_sparse(config: Config, count: int) -> Sequence[bool]:
    """DeepSeek-OCR 2 has no default for which layers are dense: the file must say."""
    if config.sequence("mlp_layer_types") is None and config.fields.get("first_k_dense_replace") is None:
        raise config.error("mlp_layer_types", f"It must be a list of {count} names, dense or sparse.")
    return FirstDense(first=1)(config, count)


OCR2_TEXT = Decoder(TEXT.attention, replace(MOE, sparse=_stated_sparse))

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
    listed = config.sequence("downsample_channels", int)
    channels = (512, 896) if listed is None else listed
    if len(channels) != 2 or min(channels) < 1:
        raise config.error("downsample_channels", "It must be two sizes.")
    return channels[0], channels[1]


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
    parts = TEXT(Config({**language.fields, "sliding_window": None}, defaults, language.path))
    tower, joint = Tree("model."), Tree("model.", tower=Tower.PROJECTOR)
    channels = _strided_sam(Config(SAM_B), tower.at("sam_model"))
    clip(Config(CLIP_L_224), tower.at("vision_model"), last_norm=False)
    joint.linear("projector.layers", parts.hidden_size, channels + CLIP_L_224["hidden_size"], bias=True)
    joint.parameter("image_newline", parts.hidden_size)
    joint.parameter("view_seperator", parts.hidden_size)
    return with_towers(parts, tower, joint)


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


def dots_ocr(config: Config) -> Parts:
    """dots.ocr as its own code builds it: Qwen2 with a tower of its own."""
    text = Config.of(config.fields, "qwen2")
    parts = Decoder(Attention(o_bias=False, windows=max_window_layers), UNBIASED)(text)
    tower = Tree("vision_tower.")
    dots_vit(config.sub("vision_config"), tower)
    return with_towers(parts, tower)


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "unlimited_ocr": Wrapper(unlimited, (("", "vision_config"),), text_as=TEXT),
    "deepseek_ocr2": Wrapper(deepseek_ocr2, (("", "vision_config"),), text_as=OCR2_TEXT),
    "DeepseekOCR": deepseek_ocr,
    "dots_ocr": dots_ocr,
}
