"""A GGUF model's projector: the file of its towers, and the buffer that llama.cpp reserves for one image at start.

Sizes of the image: `data/warm_up_images.csv`, else the side that the config tells. What lives in the graph at its peak
was counted in tools/mtmd/clip.cpp and models/ of August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sizer.frozen import NamedTuple
from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Module, Role, Tensor, Tower
from sizer.tables import read_rows

PROJECTOR_TOWERS = frozenset({Tower.VISION, Tower.AUDIO, Tower.PROJECTOR})
BLOCK_VALUES = 32
Q8_0_BYTES_PER_VALUE = 34 / BLOCK_VALUES
FP32_BYTES, HALF_BYTES = 4, 2
LAYER_WIDTHS, SCORED_WIDTHS, FFN_WIDTHS = 6, 5, 2
"""Of a layer's width, for each patch: queries, keys and values fused, queries and keys rotated, and the residual; one
less where attention keeps scores; the normed input and the residual beside the MLP."""


class WarmUp(NamedTuple):
    """A row of `data/warm_up_images.csv`: tokens a side, patches a token's side, position values of a patch."""

    tokens_a_side: int
    merge: int
    position_values: int


@cache
def _warm_ups() -> dict[str, WarmUp]:
    return {
        name: WarmUp(int(row["tokens_a_side"]), int(row["merge"]), int(row["position_values"]))
        for row in read_rows("warm_up_images.csv")
        for name in row["model_types"].split()
    }


def projector_bytes(case: Case) -> int:
    """A GGUF model's projector file on the device, in 16 bits or in Q8_0 as the file's name says; 0 without one."""
    if case.graph is None or not sees(case):
        return 0
    name = case.options.vision_file.lower()
    width = Q8_0_BYTES_PER_VALUE if "q8_0" in name else HALF_BYTES
    towers = (tensor for tensor in case.architecture.tensors if tensor.tower in PROJECTOR_TOWERS)
    return round(sum(_stored_bytes(tensor, width, FP32_BYTES if "bf16" in name else HALF_BYTES) for tensor in towers))


def _stored_bytes(tensor: Tensor, width: float, patch_width: int) -> float:
    """Vectors and positions stay in 32 bits, patches in files of BF16 too; rows of no whole blocks in 16 bits."""
    if len(tensor.shape) == 1 or tensor.role is Role.POSITION:
        return tensor.total_elements * FP32_BYTES
    if tensor.module is Module.CONV:
        return tensor.total_elements * patch_width
    return tensor.total_elements * (width if tensor.shape[-1] % BLOCK_VALUES == 0 else HALF_BYTES)


def projector_compute_bytes(case: Case) -> int:
    """The projector's own buffer, in 32 bits for every patch of the warm-up image; 0 where no config tells it.

    At its peak a layer holds what attention reads or what the MLP does, whichever is wider, beside the image and its
    positions; scores of all heads where flash attention is off, the mask of layers with a window, deep features.
    """
    vision = case.architecture.config.get("vision_config")
    if case.graph is None or not sees(case) or not isinstance(vision, Mapping):
        return 0
    hidden, wide, side = _widths(case.architecture)
    side = side or _whole(vision, "patch_size") or 0
    row = _row(case.architecture, vision)
    patches = _patches_a_side(case.architecture, vision, row, side) ** 2
    flash = case.options.flash_attention is not False
    beside = 3 * side**2 + row.position_values
    values = max(LAYER_WIDTHS * hidden, wide + FFN_WIDTHS * hidden) if flash else SCORED_WIDTHS * hidden
    values += beside + _deep_values(vision, row)
    of_pairs = 0 if flash else FP32_BYTES * (_whole(vision, "num_heads", "num_attention_heads") or 0)
    if vision.get("fullatt_block_indexes"):
        of_pairs += FP32_BYTES + (HALF_BYTES if flash else 0)  # the mask, and its copy in 16 bits
    return patches * values * FP32_BYTES + patches**2 * of_pairs


def sees(case: Case) -> bool:
    """Whether the engine loads a projector onto the device: by itself, or as the flags say."""
    options, rule = case.options, case.graph
    by_itself = rule is not None and rule.projector == "always"
    asked = by_itself or bool(options.vision_file) if options.vision is None else options.vision
    return asked and options.vision_on_device is not False


def _widths(architecture: Architecture) -> tuple[int, int, int]:
    """A vision layer's width, its MLP's (gate and up together) and the side of a patch; zeros where there is none."""
    towers = [tensor for tensor in architecture.tensors if tensor.tower is Tower.VISION and len(tensor.shape) > 1]
    patch = next((tensor for tensor in towers if tensor.module is Module.CONV), None)
    layers = [tensor for tensor in towers if tensor.layers]
    widths = [tensor.shape[0] for tensor in layers if tensor.role is Role.O]
    wide = {tensor.role: tensor.shape[0] for tensor in layers if tensor.role in {Role.UP, Role.GATE}}
    return max(widths, default=0), sum(wide.values()), patch.shape[-1] if patch is not None else 0


def _row(architecture: Architecture, vision: Mapping[str, Any]) -> WarmUp:
    named = (architecture.model_type, str(vision.get("model_type", "")))
    return next((_warm_ups()[name] for name in named if name in _warm_ups()), WarmUp(0, 1, 0))


def _patches_a_side(architecture: Architecture, vision: Mapping[str, Any], row: WarmUp, side: int) -> int:
    merge = _whole(vision, "spatial_merge_size") or _whole(architecture.config, "spatial_merge_size") or row.merge
    if row.tokens_a_side:
        return row.tokens_a_side * merge
    return (_whole(vision, "image_size") or 0) // side if side else 0


def _deep_values(vision: Mapping[str, Any], row: WarmUp) -> int:
    """Features of middle layers that stay until the end (Qwen3-VL), a merged patch's spread over its own."""
    deep = vision.get("deepstack_visual_indexes")
    return len(deep) * (_whole(vision, "out_hidden_size") or 0) // row.merge**2 if isinstance(deep, list) else 0


def _whole(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of the names that holds a whole number that can be a size."""
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and 0 < value < 10**6), None)
