"""What flags add to a model: LoRA slots, a vision projector with its compute, a head that predicts further tokens."""

from __future__ import annotations

from functools import lru_cache

from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Module, Tower

DEFAULT_LORA_RANK, DEFAULT_LORA_SLOTS = 16, 1
"""vllm/config/lora.py: max_lora_rank 16, max_loras 1."""
BYTES_PER_LORA_VALUE = 2
WARM_UP_SIDE_PIXELS = 1472
"""The image that llama.cpp's projector reserves its buffer for at start (tools/mtmd, its logs)."""
HIDDEN_COPIES = 3
PROJECTOR_TOWERS = frozenset({Tower.VISION, Tower.AUDIO, Tower.PROJECTOR})
Q8_0_BYTES_PER_VALUE = 34 / 32


def lora_bytes(case: Case) -> int:
    """Buffers for adapters on one rank: both factors of every linear layer, for each slot.

    vLLM and SGLang reserve `slots` x `rank` x (inputs + outputs) values of each projection; a file given to llama.cpp
    is loaded once, taken to be of rank 16.
    """
    options = case.options
    if not options.lora and not options.lora_files:
        return 0
    slots = options.lora_slots or (len(options.lora_files) or DEFAULT_LORA_SLOTS)
    rank = options.lora_rank or DEFAULT_LORA_RANK
    return slots * rank * _sides(case.architecture) * BYTES_PER_LORA_VALUE // case.ranks


@lru_cache(maxsize=64)
def _sides(architecture: Architecture) -> int:
    """Inputs and outputs of all linear layers of the text, together."""
    linear = {Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D}
    found = (one for one in architecture.tensors if one.tower is Tower.TEXT and not one.checkpoint_only)
    matrices = (one for one in found if one.module in linear and one.layers and len(one.shape) > 1)
    return sum(sum(one.shape) * one.copies for one in matrices)


def projector_bytes(case: Case) -> int:
    """A GGUF model's projector file on the device: its towers in 16 bits, or in Q8_0 where the file's name says so."""
    if case.graph is None or not _sees(case):
        return 0
    values = sum(tensor.total_elements for tensor in case.architecture.tensors if tensor.tower in PROJECTOR_TOWERS)
    width = Q8_0_BYTES_PER_VALUE if "q8_0" in case.options.vision_file.lower() else 2
    return int(values * width)


def projector_compute_bytes(case: Case) -> int:
    """The projector's own buffer: the widest of its layers for every patch of the warm-up image, in 32 bits."""
    vision = case.architecture.config.get("vision_config")
    if case.graph is None or not _sees(case) or not isinstance(vision, dict):
        return 0
    side = vision.get("patch_size") or vision.get("spatial_patch_size") or 14
    hidden, wide = vision.get("hidden_size"), vision.get("intermediate_size")
    if not all(isinstance(size, int) and size > 0 for size in (side, hidden, wide)):
        return 0
    patches = (WARM_UP_SIDE_PIXELS // int(side)) ** 2
    return int(patches * (int(wide) + HIDDEN_COPIES * int(hidden)) * 4)  # type: ignore[arg-type]


def _sees(case: Case) -> bool:
    """Whether the flags load a projector onto the device."""
    options = case.options
    asked = bool(options.vision_file) if options.vision is None else options.vision
    return asked and options.vision_on_device is not False


def prediction_bytes(case: Case) -> int:
    """Weights of the multi-token-prediction layers that a checkpoint carries, where flags use them to draft."""
    if not case.drafts_by_itself:
        return 0
    return sum(entry.size_bytes for entry in case.stored.tensors if entry.tensor.checkpoint_only) // case.ranks


def draft_bytes(case: Case) -> int:
    """Weights of a model that drafts beside this one, on one rank of an engine with a pool."""
    if case.draft is None or not case.pools:
        return 0
    tensors = case.draft.stored.tensors
    return sum(entry.size_bytes for entry in tensors if not entry.tensor.checkpoint_only) // case.ranks
