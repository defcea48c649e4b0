"""How many tokens of cache a replica has room for: one device's room over what a request takes on one device."""

from __future__ import annotations

from dataclasses import replace

from sizer.memory.capacity import room_bytes_of
from sizer.memory.case import Case
from sizer.memory.placement import place
from sizer.memory.records import Share
from sizer.memory.shard import rank_token_bytes
from sizer.model.architecture import Module
from sizer.serving.layout import Layout
from sizer.serving.load import Load


def cache_tokens(case: Case, layout: Layout, load: Load) -> float | None:
    """Tokens of cache that the replica holds, all sequences together, in requests of the load's length.

    A request's states and windows count at its full length, spread over its tokens. 0 where the weights leave no
    room, None where the memory or the layers are not known. `case` names all devices of the replica.
    """
    placement = place(replace(case, can_offload=False))[1]
    if placement.available_bytes is not None and not placement.fits:
        return 0.0
    if not case.architecture.layers:
        return None
    shares = placement.shares
    if any(share.available_bytes is None for share in shares):
        return None
    if case.options.cache_tokens is not None:
        return float(case.options.cache_tokens * layout.attention_groups)
    rooms = [room_bytes_of(case, _own(case, layout, share)) for share in shares]
    group = replace(case, target=replace(case.target, count=layout.tensor_ranks))
    one_bytes = rank_token_bytes(group, group.plan, round(load.whole_tokens))
    if not one_bytes:
        return None
    requests = sum(rooms) / one_bytes if layout.stages > 1 else min(rooms) / one_bytes * layout.attention_groups
    return max(0.0, requests) * load.whole_tokens


def _own(case: Case, layout: Layout, share: Share) -> Share:
    """The share of a device whose attention is its own copy: experts by all devices, the rest by its tensor ranks."""
    if layout.attention_groups == 1:
        return share
    held = [part for part in case.stored.tensors if not part.tensor.checkpoint_only]
    experts = sum(part.size_bytes for part in held if part.tensor.module is Module.EXPERT_STACK)
    rest = sum(part.size_bytes for part in held) - experts
    return share._replace(weights_bytes=experts // layout.expert_ranks + rest // layout.tensor_ranks)
