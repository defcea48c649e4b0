"""LLaVA: as transformers has it, and as its authors ship it."""

from __future__ import annotations

import re
from typing import Any

from sizer.errors import UnsupportedArchitecture
from sizer.model.architecture import Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.towers.clip import clip, siglip
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import CLIP_L_336, llava, llava_mlp, llava_next, with_towers
from sizer.model.shapes.family import Family
from sizer.model.shapes.wrapper import Pieces, Wrapper, feature_layers


def vipllava(pieces: Pieces, tree: Tree) -> None:
    """ViP-LLaVA: several layers' features, normed."""
    width = pieces.vision.size("hidden_size") * feature_layers(pieces.config)
    tree.layer_norm("multi_modal_projector.projector_layernorm", size=width)
    llava_mlp(pieces, tree, bias=True)


# The towers that the files name, with the sizes of those repositories. SigLIP runs without its last layer and head.
SIGLIP_SO400M: dict[str, Any] = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16,
    "image_size": 384, "patch_size": 14, "vision_use_head": False,
}  # fmt: skip
TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": CLIP_L_336,
    "openai/clip-vit-large-patch14": CLIP_L_336 | {"image_size": 224},
    "google/siglip-so400m-patch14-384": SIGLIP_SO400M,
}


def _tower(config: Config) -> tuple[Tree, int]:
    """The named tower, and the width of its features."""
    name = config.text("mm_vision_tower", "vision_tower")
    if name not in TOWERS:
        raise UnsupportedArchitecture(
            f"config field 'mm_vision_tower' is {name!r:.80}, a tower that is not known here.",
            f"Known are {', '.join(TOWERS)}. Give the .safetensors file itself, whose header lists every tensor.",
        )
    tree = Tree("model.vision_tower.vision_tower.vision_model.")
    fields = Config(TOWERS[name])
    (siglip if "siglip" in name else clip)(fields, tree)
    return tree, fields.size("hidden_size")


def _projector(config: Config, width: int, hidden: int) -> Tree:
    """`linear`, or `mlpNx_gelu`: N matrices with biases; and the embedding that ends a row where patches keep rows."""
    kind = config.text("mm_projector_type", default="linear")
    match = re.fullmatch(r"mlp([1-9])x_gelu", kind)
    if match is None and kind != "linear":
        raise config.error("mm_projector_type", "It must be linear or mlpNx_gelu.")
    tree = Tree("model.", tower=Tower.PROJECTOR)
    tree.linear("mm_projector" if match is None else "mm_projector.0", hidden, width, bias=True)
    for index in range(1, int(match[1]) if match else 1):
        tree.linear(f"mm_projector.{2 * index}", hidden, hidden, bias=True)
    if "unpad" in config.text("mm_patch_merge_type"):
        tree.parameter("image_newline", hidden)
    return tree


def llava_of(model_type: str) -> Family:
    """The family of LLaVA's class around a text model of this type."""

    def family(config: Config) -> Parts:
        parts = describe(Config.of(config.fields, model_type), model_type)
        tower, width = _tower(config)
        return with_towers(parts, tower, _projector(config, width, parts.hidden_size))

    return family


FAMILIES: dict[str, Family] = {
    "llava": Wrapper(llava, ties="either"),
    "llava_next": Wrapper(llava_next),
    "llava_next_video": Wrapper(llava_next, ties="either"),
    "llava_onevision": Wrapper(llava_next, ties="either"),
    "vipllava": Wrapper(vipllava),
    "video_llava": Wrapper(llava, (("video_tower", "vision_config"), ("image_tower", "vision_config"))),
    "llava_llama": llava_of("llama"),
    "llava_mistral": llava_of("mistral"),
    "llava_qwen": llava_of("qwen2"),
}
