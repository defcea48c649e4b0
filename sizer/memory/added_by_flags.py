"""What flags add to a model: LoRA slots, layers that predict further tokens, a model that drafts."""

from __future__ import annotations

from functools import lru_cache

from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Module, Tower
from sizer.units import HALF_BYTES

DEFAULT_LORA_RANK, DEFAULT_LORA_SLOTS = 16, 1
"""vllm/config/lora.py: max_lora_rank 16, max_loras 1."""


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
    return slots * rank * _sides(case.architecture) * HALF_BYTES // case.ranks


@lru_cache(maxsize=64)
def _sides(architecture: Architecture) -> int:
    """Inputs and outputs of all linear layers of the text, together."""
    linear = {Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D}
    found = (one for one in architecture.tensors if one.tower is Tower.TEXT and not one.checkpoint_only)
    matrices = (one for one in found if one.module in linear and one.layers and len(one.shape) > 1)
    return sum(sum(one.shape) * one.copies for one in matrices)


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
