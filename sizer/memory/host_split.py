"""The placement of a split with the host: what each device and the host then hold, and whether that fits."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.memory.beside import added_compute, added_weights, all_caches, draft_taken
from sizer.memory.case import Case
from sizer.memory.graph.decoder import Buffers
from sizer.memory.records import Footprint, Placement, Share
from sizer.memory.shares import Held, host_tables_bytes, share_of, usable_bytes
from sizer.memory.working import graph_buffers, part_of, split_part


def host_split(
    case: Case,
    needed: Footprint,
    held: Held,
    margin_bytes: int,
    *,
    host_experts: bool = False,
    parts: Sequence[Held] | None = None,
) -> Placement:
    """The placement that has `held` on the devices, by `parts` or by the room that each has, the rest on the host."""
    host_layers = 0 if host_experts else case.architecture.num_layers - held.layers
    buffers = split_buffers(case, host_layers, host_experts=host_experts)
    compute_bytes = buffers.device_bytes if buffers else None
    rooms = rooms_of(case, needed, margin_bytes, compute_bytes)
    dealt = parts if parts is not None else _portions(held, rooms or [1] * len(case.devices))
    shares = tuple(
        share_of(case, device, part, needed, compute_bytes) for device, part in zip(case.devices, dealt, strict=True)
    )
    host = _host_share(case, needed, held, buffers)
    device_short = _short_bytes(dealt, rooms or [0] * len(dealt), each=parts is not None and rooms is not None)
    device_short += sum(map(_lacking_bytes, shares))
    return Placement(
        kind="offload",
        shares=shares,
        host=host,
        fits=rooms is not None and device_short + host.missing_bytes == 0,
        shortfall_bytes=device_short + host.missing_bytes,
        gpu_layers=held.layers,
        available_bytes=None if rooms is None else sum(share.available_bytes or 0 for share in shares),
        host_experts=host_experts,
        host_tables_bytes=host_tables_bytes(case) + draft_taken(case).host_bytes,
        added_bytes=sum(added_weights(case).values()),
    )


def rooms_of(case: Case, needed: Footprint, margin_bytes: int, compute_bytes: int | None) -> list[int] | None:
    """Bytes that each device has for weights and cache, once activations, overhead and a margin are taken.

    `compute_bytes` is the buffer of each where the host's weights pass through it.

    None where a device's memory is not known.
    """
    sizes = [usable_bytes(case, device) for device in case.devices]
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    if len(known) < len(sizes):
        return None
    own_bytes = needed.activations.size_bytes // len(sizes) if compute_bytes is None else compute_bytes
    taken_bytes = needed.overhead.size_bytes // len(sizes) + own_bytes + margin_bytes
    return [max(0, size_bytes - taken_bytes) for size_bytes in known]


def split_buffers(case: Case, host_layers: int, *, host_experts: bool) -> Buffers | None:
    """The compute buffers where the host has layers or experts; None for engines without a graph of ggml's."""
    if not case.reserves_graph:
        return None
    plan = case.plan
    buffers = graph_buffers(case, plan, split_part(case, plan, host_layers, host_experts=host_experts))
    return buffers._replace(device_bytes=buffers.device_bytes + sum(added_compute(case).values()))


def _host_share(case: Case, needed: Footprint, held: Held, buffers: Buffers | None) -> Share:
    """What the host holds: all that the devices do not."""
    cache = all_caches(case)
    return Share(
        place="host",
        weights_bytes=needed.weights.size_bytes - held.weights_bytes + draft_taken(case).host_bytes,
        kv_cache_bytes=cache.attention_bytes - held.kv_cache_bytes,
        state_bytes=cache.state_bytes - held.state_bytes,
        compute_bytes=buffers.host_bytes if buffers else 0,
        graphs_bytes=0,
        overhead_bytes=0,
        available_bytes=case.target.host_memory_bytes,
        layers=case.architecture.num_layers - held.layers,
    )


def _short_bytes(dealt: Sequence[Held], rooms: Sequence[int], *, each: bool) -> int:
    """What the devices have too little room for: each by itself where whole layers are dealt out, else all together."""
    taken = [part.weights_bytes + part.kv_cache_bytes + part.state_bytes for part in dealt]
    if each:
        return sum(max(0, size - room) for size, room in zip(taken, rooms, strict=True))
    return max(0, sum(taken) - sum(rooms))


def _lacking_bytes(share: Share) -> int:
    """By how much a device is too small for its buffers and overhead alone, whatever weights and cache it holds."""
    held_bytes = share.weights_bytes + share.kv_cache_bytes + share.state_bytes
    return 0 if share.available_bytes is None else max(0, share.total_bytes - held_bytes - share.available_bytes)


def host_compute_bytes(case: Case) -> int:
    """The buffer that an engine on ggml reserves in the host's memory beside a device: inputs and masks; else 0."""
    if case.on_cpu or not case.reserves_graph:
        return 0
    return graph_buffers(case, case.plan, part_of(case)).host_bytes


def _portions(held: Held, rooms: list[int]) -> list[Held]:
    """What the devices hold together, divided in proportion to their room; the last takes what rounding leaves."""
    total = sum(rooms) or 1

    def portions(amount: int) -> list[int]:
        first = [amount * room // total for room in rooms[:-1]]
        return [*first, amount - sum(first)]

    sizes = (
        portions(held.weights_bytes),
        portions(held.kv_cache_bytes),
        portions(held.layers),
        portions(held.state_bytes),
    )
    return [Held(*part) for part in zip(*sizes, strict=True)]
