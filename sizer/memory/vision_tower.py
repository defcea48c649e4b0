"""A model's vision tower as its projector's graph goes by it: what its tensors, config and family's row tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import isqrt, prod
from typing import Any

from sizer.frozen import NamedTuple
from sizer.memory.graph.vision import VisionTower
from sizer.model.architecture import Architecture, Module, Role, Tensor, Tower
from sizer.model.config import Config
from sizer.tables import read_rows

MOST_PATCHES_A_SIDE = 256
"""Of a square image that a graph is built for: no family's warm-up image has more than 92."""
USUAL_HEADS, USUAL_HEAD_VALUES = 16, 64
"""Of a tower that neither its config nor its class tells of (remote code: 16 in MoonViT): they count without flash
attention."""
OF_ONE_PATCH = frozenset({"pooled", "picked", "downsampled"})
"""Projectors whose first matrix reads what one patch holds, or the mean of several."""


class WarmUp(NamedTuple):
    """A row of `data/warm_up_images.csv`: tokens a side (0: the config's own image), patches a token's side, and how
    the family's graph goes (`sizer.memory.graph.vision.VisionTower`)."""

    tokens_a_side: int = 0
    merge: int = 1
    position_inputs: int = 0
    turns: int = 0
    positions: str = "stored"
    fused_qkv: bool = False
    tail: str = ""


@cache
def _warm_ups() -> dict[str, WarmUp]:
    return {
        name: WarmUp(
            int(row["tokens_a_side"] or 0),
            int(row["merge"]),
            int(row["position_inputs"]),
            int(row["turns"]),
            row["positions"],
            row["fused_qkv"] == "yes",
            row["tail"],
        )
        for row in read_rows("warm_up_images.csv")
        for name in row["model_types"].split()
    }


def vision_tower(architecture: Architecture, *, flash_attention: bool) -> VisionTower | None:
    """The vision tower as its graph goes by it; None where the config or its tensors do not tell it."""
    vision = _vision_config(architecture)
    own = [tensor for tensor in architecture.tensors if tensor.tower is Tower.VISION]
    layers = [tensor for tensor in own if tensor.layers]
    hidden = next((tensor.shape[0] for tensor in layers if tensor.role is Role.O), 0)
    up = next((tensor for tensor in layers if tensor.role is Role.UP and tensor.shape[1:] == (hidden,)), None)
    patch = next((tensor for tensor in own if not tensor.layers and _is_patch(tensor)), None)
    if up is None or patch is None:
        return None
    row = _row(architecture, vision)
    merge = _merge(architecture, vision, row)
    patch_values = 3 * patch.shape[-1] ** 2 if len(patch.shape) > 2 else patch.shape[1]
    a_side = row.tokens_a_side * merge or (whole_number(vision, "image_size") or 0) // isqrt(patch_values // 3)
    if not 0 < a_side <= MOST_PATCHES_A_SIDE:
        return None
    widths = _projector_widths(architecture, own, hidden * (merge**2 if row.tail not in OF_ONE_PATCH else 1), row)
    known = next((prod(tensor.shape[:-1]) for tensor in own if tensor.role is Role.POSITION), 0)
    tower = VisionTower(
        hidden=hidden,
        wide=up.shape[0],
        heads=_heads(vision, hidden),
        layers=len(up.layers),
        patch_values=patch_values,
        patches_a_side=a_side,
        convolutions=2 if len(patch.shape) == 5 else 1,
        positions="stored" if row.positions == "resized" and known == a_side**2 else row.positions,
        position_inputs=row.position_inputs,
        turns=row.turns,
        first=known == a_side**2 + 1,
        tail=row.tail if widths else "",
        merge=merge,
        widths=widths,
        flash_attention=flash_attention,
    )
    return _with_layers(tower, layers, row, vision)


def _with_layers(tower: VisionTower, layers: Sequence[Tensor], row: WarmUp, vision: Mapping[str, Any]) -> VisionTower:
    """The tower with how its layers go: gates, norms, windows, and those whose features are kept."""
    norms = [tensor for tensor in layers if tensor.role is Role.NORM]
    wide = [tensor for tensor in norms if tensor.shape == (tower.hidden,)]
    deep, whole = vision.get("deepstack_visual_indexes"), vision.get("fullatt_block_indexes")
    return tower._replace(
        gated=any(tensor.role is Role.GATE for tensor in layers),
        fused_qkv=row.fused_qkv,
        root_mean_square=not any(tensor.name.endswith("bias") for tensor in wide),
        head_norms=any(tensor.shape == (tower.hidden // tower.heads,) for tensor in norms),
        post_norms=sum(tensor.name.endswith("weight") for tensor in wide) > 2,
        clamped=row.positions == "added",
        window_pattern=whole[0] + 1 if isinstance(whole, list) and whole and isinstance(whole[0], int) else 0,
        deep=tuple(deep) if isinstance(deep, list) else (),
    )


def _vision_config(architecture: Architecture) -> Mapping[str, Any]:
    """The tower's own config over its class's defaults: files leave out what their class knows."""
    if not isinstance(architecture.config.get("vision_config"), Mapping):
        return {}
    return Config.of(architecture.config, architecture.model_type).sub("vision_config")


def _heads(vision: Mapping[str, Any], hidden: int) -> int:
    return (
        whole_number(vision, "num_heads", "num_attention_heads") or min(USUAL_HEADS, hidden // USUAL_HEAD_VALUES) or 1
    )


def _merge(architecture: Architecture, vision: Mapping[str, Any], row: WarmUp) -> int:
    """The side of the square of patches that becomes one token."""
    names = ("spatial_merge_size", "scale_factor")
    return whole_number(architecture.config, *names) or whole_number(vision, *names) or row.merge


def _is_patch(tensor: Tensor) -> bool:
    """Whether a tensor takes an image's patches: a convolution of three channels, or a matrix over their values."""
    if tensor.module is Module.CONV:
        return tensor.shape[1:2] == (3,)
    if len(tensor.shape) != 2 or tensor.role is not Role.OTHER or tensor.shape[1] % 3:
        return False
    side = isqrt(tensor.shape[1] // 3)
    return 3 * side**2 == tensor.shape[1]


def _projector_widths(architecture: Architecture, own: Sequence[Tensor], width: int, row: WarmUp) -> tuple[int, ...]:
    """The widths of the matrices that lead from what merged patches hold to the text, each from the last one's."""
    if row.tail == "downsampled":
        outs = [one.shape[0] for one in own if one.module is Module.CONV and one.shape[1:2] not in ((), (3,))]
        inner = [one.shape[0] for one in own if one.role is Role.GATE and not one.layers]
        return (outs[0], inner[0]) if outs and inner else ()
    behind = [tensor for tensor in architecture.tensors if tensor.tower is Tower.PROJECTOR]
    # Beside a projector of its own a tower may have a head that no one reads (SigLIP 2's).
    own = [tensor for tensor in own if not _is_patch(tensor) and (tensor.role is Role.OTHER or not behind)]
    found = []
    for tensor in (*own, *behind):
        if len(tensor.shape) != 2 or tensor.layers or width not in tensor.shape or tensor.role is Role.POSITION:
            continue
        width = tensor.shape[0] if tensor.shape[1] == width else tensor.shape[1]
        found.append(width)
    return tuple(found)


def _row(architecture: Architecture, vision: Mapping[str, Any]) -> WarmUp:
    own = str(vision.get("model_type", ""))
    named = (f"{architecture.model_type}:{own}", architecture.model_type, own)
    return next((_warm_ups()[name] for name in named if name in _warm_ups()), WarmUp())


def whole_number(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of the names that holds a whole number that can be a size."""
    found = (config.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and 0 < value < 10**6), None)
