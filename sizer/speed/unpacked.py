"""Prompts whose packed weights are unpacked before they are multiplied, and experts that are one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.device.capability import cuda_capability
from sizer.model.architecture import Module, Role
from sizer.model.stored import StoredTensor
from sizer.speed.case import SpeedCase, runtime_rule, standing
from sizer.speed.chunks import Chunks
from sizer.speed.routing import distinct_experts
from sizer.speed.terms import EXPANDED_BYTES_PER_VALUE
from sizer.speed.traffic import runs_in_text

_ROWS_ALONE = frozenset({Role.EMBEDDING, Role.POSITION, Role.LM_HEAD})
"""What a prompt looks up, or multiplies by its last token alone."""


def expert_calls(case: SpeedCase, chunks: Chunks) -> float:
    """Device operations of a prompt where a runtime multiplies by its touched experts one after the other."""
    launches = case.kernels.expert_launches
    if not launches:
        return 0.0
    stacks = sum(len(part.tensor.layers) for part in case.stored.tensors if part.tensor.module is Module.EXPERT_STACK)
    return launches * _touched_experts(case, chunks.sizes) * stacks


def unpacked_bytes(case: SpeedCase, chunks: Chunks) -> float:
    """What a prompt's chunks write, and read again, of packed weights that they unpack to 16 bits: all matrices of a
    runtime that multiplies these by the maker's libraries (`data/unpacked_prompts.csv`), of touched experts alone."""
    least = _least_tokens(case)
    unpacking = tuple((size, count) for size, count in chunks.sizes if least and size >= least)
    if not unpacking:
        return 0.0
    values, experts = _packed_values(case)
    touched = _touched_experts(case, unpacking) / (case.architecture.experts or 1)
    return EXPANDED_BYTES_PER_VALUE * (values * sum(count for _, count in unpacking) + experts * touched)


@standing
def _least_tokens(case: SpeedCase) -> int:
    """From how many tokens a chunk has on its matrices are unpacked; 0 where they are not."""
    rule = runtime_rule(case, "unpacked_prompts.csv")
    if rule is None or not rule["tokens"] or cuda_capability(case.device) < float(rule["least_capability"] or 0):
        return 0
    return int(rule["tokens"])


@standing
def _packed_values(case: SpeedCase) -> tuple[int, int]:
    """The packed weights of a pass: of matrices that all tokens share, and of experts."""
    packed = [part for part in case.stored.tensors if _is_packed(part)]
    experts = sum(part.tensor.total_elements for part in packed if part.tensor.module is Module.EXPERT_STACK)
    return sum(part.tensor.total_elements for part in packed) - experts, experts


def _is_packed(part: StoredTensor) -> bool:
    tensor = part.tensor
    fewer = part.size_bytes < EXPANDED_BYTES_PER_VALUE * tensor.total_elements
    return fewer and runs_in_text(tensor) and tensor.role not in _ROWS_ALONE


def _touched_experts(case: SpeedCase, sizes: Iterable[tuple[int, int]]) -> float:
    """Experts of one layer that a prompt's chunks touch, one after the other; 0 of a dense model."""
    experts = case.architecture.experts
    if not experts:
        return 0.0
    active = case.architecture.active_experts or experts  # where none is told, all are
    return sum(distinct_experts(experts, active, size) * count for size, count in sizes)
