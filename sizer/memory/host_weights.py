"""Weights that flags keep on the host while the devices run every layer: they stream in, or experts compute there."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.memory.case import Case
from sizer.memory.records import Share
from sizer.memory.shares import weights_by_layer


def weights_kept_on_host(case: Case, shares: Sequence[Share]) -> tuple[Sequence[Share], Share | None]:
    """The shares once a number of bytes of each device's layers stay on the host (`--cpu-offload-gb`), and the host's.

    Layers alone go: embeddings and the output stay (vLLM's make_layers wraps them, SGLang's offloader too). Experts go
    by their number (`--kt-num-gpu-experts`). As they are and None where no flag says so.
    """
    if case.options.device_experts is not None and case.architecture.experts and not case.on_cpu:
        return _experts_kept_on_host(case, shares, case.options.device_experts)
    told = case.options.weights_offload_bytes or 0
    if not told or case.on_cpu:
        return shares, None
    weights = weights_by_layer(case.stored)
    stays = (weights.input_bytes + weights.output_bytes) // (case.ranks * case.stages)
    moved = [min(told, max(0, share.weights_bytes - stays)) for share in shares]
    left = [share._replace(weights_bytes=share.weights_bytes - size) for share, size in zip(shares, moved, strict=True)]
    return left, Share("host", sum(moved), 0, 0, 0, 0, 0, case.target.host_memory_bytes, 0)


def _experts_kept_on_host(case: Case, shares: Sequence[Share], kept: int) -> tuple[Sequence[Share], Share]:
    """The shares once all but `kept` experts of each layer lie on the host, in the bits that it computes them in."""
    experts = case.architecture.experts or 1
    away = max(0, experts - kept) / experts
    moved = round(sum(weights_by_layer(case.stored).expert_bytes.values()) * away)
    each = moved // len(shares)
    left = [share._replace(weights_bytes=share.weights_bytes - each) for share in shares]
    bits = case.options.host_expert_bits
    elements = sum(t.total_elements for t in case.architecture.tensors if t.active_experts is not None)
    host_bytes = moved if bits is None else round(elements * away) * bits // 8
    return left, Share("host", host_bytes, 0, 0, 0, 0, 0, case.target.host_memory_bytes, 0)
