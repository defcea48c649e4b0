"""Models that read pages: DeepSeek-VL with SAM beside SigLIP, Granite Docling, Granite 4 Vision, HunyuanOCR."""

from __future__ import annotations

from collections.abc import Callable

from sizer.model.blocks.core import Parts
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config
from sizer.model.families.multimodal_rest import qformer
from sizer.model.families.multimodal_wrapper import VISION_MODEL, Pieces, Wrapper


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


def density_router(pieces: Pieces, tree: Tree) -> None:
    """Granite Docling's choice between its routes, where it has one."""
    inner, size = pieces.config.optional_size("density_router_hidden_size"), pieces.vision.size("hidden_size")
    if inner is not None:
        router = tree.at("density_router")
        router.linear("att", 1, size, bias=True)
        router.layer_norm("norm", size=size)
        router.mlp(size, inner, out=1)


def hunyuan(pieces: Pieces, tree: Tree) -> None:
    """HunyuanOCR's merger: two convolutions and a matrix to the text's width, with marks of rows and images."""
    size, out, merge = pieces.vision.size("hidden_size"), pieces.text_size, pieces.vision.size("spatial_merge_size")
    merger = tree.at("vision_tower.patch_merger")
    merger.conv("proj_conv", 2 * size, size, merge, merge, bias=True)
    merger.conv("proj_out", 4 * size, 2 * size, 1, 1, bias=True)
    merger.linear("mlp", out, 4 * size, bias=True)
    merger.parameter("image_newline", 4 * size)
    for name in ("image_begin", "image_end", "image_sep"):
        merger.parameter(name, out)
    merger.rms_norm("before_rms", size=size)
    merger.rms_norm("after_rms", size=out)


HUNYUAN = Wrapper(hunyuan, ties="either", text_as="hunyuan_v1_dense", flat=True)


def hunyuan_family(config: Config) -> Parts:
    """HunyuanOCR. A file without a text_config has the text's fields on top, but its head is always the embedding."""
    if config.fields.get("text_config") is None:
        return HUNYUAN(Config({**config.fields, "tie_word_embeddings": True}, config.class_defaults, config.path))
    return HUNYUAN(config)


def granite4(pieces: Pieces, tree: Tree) -> None:
    """Granite 4 Vision: querying transformers over windows, one for each layer it feeds and four offsets in space."""
    config, size = pieces.config, pieces.vision.size("hidden_size")
    rate = config.text("downsample_rate").split("/")
    if len(rate) != 2 or not all(part.isdecimal() and 0 < int(part) <= MAX_COUNT for part in rate):
        raise config.error("downsample_rate", "It must be two window sides, such as '1/4'.")
    queries, window = int(rate[0]), int(rate[1])
    pairs = config.sequence("deepstack_layer_map")
    if pairs is None:
        raise config.error("deepstack_layer_map", "It must list pairs of layers, one for each projector.")
    read = {"hidden_size": size, "num_attention_heads": size // 64, "encoder_hidden_size": size}
    former = pieces.sub("qformer_config")
    former = Config({**former.fields, **read}, former.class_defaults, former.path)
    tree.parameter("image_newline", pieces.text_size)
    for name, count in (("layerwise_projectors", len(pairs)), ("spatial_projectors", 4)):
        projector = tree.stack(name, count)
        for index in range(count):
            qformer(former, tree.at(f"{name}.{index}.qformer"), reads_text=former.flag("use_qformer_text_input"))
        projector.layer_norm("norm", size=size)
        projector.parameter("query", 1, queries**2, size)
        projector.parameter("image_positions", 1, window**2, size)
        projector.linear("out_linear", pieces.text_size, size, bias=True)


BOTH = (("high_res_vision_model", "high_res_vision_config"), *VISION_MODEL)

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "deepseek_vl_hybrid": Wrapper(hybrid_aligner, BOTH),
    "granite4_vision": Wrapper(granite4, text_as="granite"),
    "granite_docling": Wrapper(density_router, VISION_MODEL, text_as="granite", text_name="text_model"),
    "hunyuan_vl": hunyuan_family,
}
