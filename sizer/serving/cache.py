"""How many tokens of cache a replica has room for: one device's room over one device's bytes a token."""

from __future__ import annotations

from dataclasses import replace

from sizer.cache_formats import cache_format
from sizer.memory.kv_cache import sequence_cache_bytes
from sizer.memory.placement import place
from sizer.memory.records import Placement
from sizer.memory.shares import Case
from sizer.model.architecture import Module
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.workload import Split


def placed(case: Case, layout: Layout) -> Placement:
    """Where one sequence of the case lies over the devices of the layout."""
    split = Split.LAYER if layout.stages > 1 else Split.TENSOR
    return place(replace(case, parallelism=split, can_offload=False))[1]


def cache_tokens(case: Case, layout: Layout, load: Load) -> float | None:
    """Tokens of cache that the replica holds, all sequences together, in requests of the load's length.

    A request's states and windows count at its full length, spread over its tokens. 0 where the weights leave no
    room, None where the memory or the layers are not known.
    """
    if not case.architecture.layers:
        return None
    placement = placed(case, layout)
    rooms = [
        _room_bytes(case, layout, share.available_bytes, share.total_bytes - share.kv_cache_bytes, share.weights_bytes)
        for share in placement.shares
    ]
    known = [room for room in rooms if room is not None]
    if len(known) < len(rooms):
        return None
    whole = load.whole_tokens
    one_bytes = sequence_cache_bytes(
        case.architecture, round(whole), cache_format(case.workload.kv_precision), case.engine.state_bytes_per_value
    )
    if not one_bytes:
        return None
    if layout.stages > 1:
        return max(0.0, sum(known)) / one_bytes * whole
    shard_bytes = one_bytes * layout.cache_copies(case.architecture) / layout.tensor_ranks
    return max(0.0, min(known)) / shard_bytes * layout.attention_groups * whole


def _room_bytes(case: Case, layout: Layout, available: int | None, fixed: int, weights: int) -> float | None:
    """What one device has left for the cache."""
    if available is None:
        return None
    fixed += _replicated_bytes(case, layout) - weights if layout.attention_groups > 1 else 0
    engine = case.engine
    if engine.device_fraction is None or engine.allocates in {"as_needed", "fraction_of_device"}:
        return float(available - fixed)
    if engine.allocates == "fraction_of_free":
        return max(0, available - fixed) * engine.device_fraction
    return min(available - fixed, available * engine.device_fraction)


def _replicated_bytes(case: Case, layout: Layout) -> int:
    """Weights of one device whose attention is its own copy: experts by all devices, the rest by its tensor ranks."""
    held = [part for part in case.stored.tensors if not part.tensor.checkpoint_only]
    experts = sum(part.size_bytes for part in held if part.tensor.module is Module.EXPERT_STACK)
    rest = sum(part.size_bytes for part in held) - experts
    return experts // layout.expert_ranks + rest // layout.tensor_ranks
