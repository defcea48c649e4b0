"""A GGUF model's projector: the file of its towers, and the buffer that llama.cpp reserves for one image at start."""

from __future__ import annotations

from functools import lru_cache

from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Module, Role, Tensor, Tower
from sizer.units import FLOAT_BYTES, HALF_BYTES

PROJECTOR_TOWERS = frozenset({Tower.VISION, Tower.AUDIO, Tower.PROJECTOR})
BLOCK_VALUES = 32
Q8_0_BYTES_PER_VALUE = 34 / BLOCK_VALUES
"""Q8_0: 32 bytes and a 16-bit scale for 32 values."""


def projector_bytes(case: Case) -> int:
    """A GGUF model's projector file on the device, in 16 bits or in Q8_0 as the file's name says; 0 without one."""
    if case.graph is None or not sees(case):
        return 0
    name = case.options.vision_file.lower()
    width = Q8_0_BYTES_PER_VALUE if "q8_0" in name else HALF_BYTES
    towers = (tensor for tensor in case.architecture.tensors if tensor.tower in PROJECTOR_TOWERS)
    return round(sum(_stored_bytes(tensor, width, FLOAT_BYTES if "bf16" in name else HALF_BYTES) for tensor in towers))


def _stored_bytes(tensor: Tensor, width: float, patch_width: int) -> float:
    """Vectors and positions stay in 32 bits, patches in files of BF16 too; rows of no whole blocks in 16 bits."""
    if len(tensor.shape) == 1 or tensor.role is Role.POSITION:
        return tensor.total_elements * FLOAT_BYTES
    if tensor.module is Module.CONV:
        return tensor.total_elements * patch_width
    return tensor.total_elements * (width if tensor.shape[-1] % BLOCK_VALUES == 0 else HALF_BYTES)


def projector_compute_bytes(case: Case) -> int:
    """The projector's own buffer: what its family's graph needs for the warm-up image; 0 where no config tells it."""
    if case.graph is None or not sees(case):
        return 0
    return _graph_bytes(case.architecture, flash_attention=case.options.flash_attention is not False)


@lru_cache(maxsize=64)
def _graph_bytes(architecture: Architecture, *, flash_attention: bool) -> int:
    from sizer.memory.graph.vision import tower_bytes
    from sizer.memory.vision_tower import vision_tower

    tower = vision_tower(architecture, flash_attention=flash_attention)
    return 0 if tower is None else tower_bytes(tower)


def sees(case: Case) -> bool:
    """Whether the engine loads a projector onto the device: by itself, or as the flags say."""
    options, rule = case.options, case.graph
    by_itself = rule is not None and rule.projector == "always"
    asked = by_itself or bool(options.vision_file) if options.vision is None else options.vision
    return asked and options.vision_on_device is not False
