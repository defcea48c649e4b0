"""Splits a model that its devices cannot hold with the host: whole layers, or the experts of a mixture first."""

from __future__ import annotations

from sizer.memory.records import Footprint, Placement, Share
from sizer.memory.shares import Case, Held, kv_by_layer, share_of, usable_bytes, weights_by_layer


def best_split(case: Case, needed: Footprint) -> Placement | None:
    """The split with the host that keeps most on the devices, less the margin that the engine leaves free on each.

    None where host and devices together are too small.
    """
    margin_bytes = case.engine.split_margin_bytes
    if case.experts_first and case.architecture.experts:
        split = _split_experts(case, needed, margin_bytes)
        if split is not None and split.fits:
            return split
    if not case.architecture.layers:
        return _split_unknown(case, needed, margin_bytes)
    low, high = 0, case.architecture.num_layers
    while low < high:
        middle = (low + high + 1) // 2
        fits = split_at(case, needed, middle, margin_bytes).fits
        low, high = (middle, high) if fits else (low, middle - 1)
    split = split_at(case, needed, low, margin_bytes)
    return split if split.fits else None


def _split_unknown(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """The split of a model known by its name alone, whose layers nobody knows: as much on the devices as they hold."""
    room_bytes = min(sum(_rooms(case, needed, margin_bytes) or [0]), needed.weights.size_bytes)
    split = _split(case, needed, Held(room_bytes, 0, 0), margin_bytes)
    return split if split.fits else None


def split_at(case: Case, needed: Footprint, gpu_layers: int, margin_bytes: int = 0) -> Placement:
    """The last `gpu_layers` layers (and the output, when all are) on the devices, the rest on the host.

    It fits where each device keeps `margin_bytes` free besides.
    """
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    kv_sizes = kv_by_layer(case)
    count = case.architecture.num_layers
    gpu_layers = max(0, min(gpu_layers, count))
    on_device = range(count - gpu_layers, count)
    device_weights = sum(layer_bytes.get(index, 0) for index in on_device)
    device_weights += output_bytes if gpu_layers == count else 0
    device_kv = sum(kv_sizes[index] for index in on_device)
    return _split(case, needed, Held(device_weights, device_kv, gpu_layers), margin_bytes)


def _split_experts(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """Everything but experts on the devices, and the experts of as many layers as fit."""
    _, expert_bytes, input_bytes, _ = weights_by_layer(case.stored)
    rooms = _rooms(case, needed, margin_bytes)
    if rooms is None:
        return None
    always_bytes = needed.weights.size_bytes - input_bytes - sum(expert_bytes.values())
    left_bytes = sum(rooms) - always_bytes - needed.kv_cache.size_bytes
    if left_bytes < 0:
        return None
    device_weights, gpu_layers = always_bytes, 0
    for size_bytes in sorted(expert_bytes.values()):
        if size_bytes <= left_bytes:
            left_bytes -= size_bytes
            device_weights += size_bytes
            gpu_layers += 1
    held = Held(device_weights, needed.kv_cache.size_bytes, gpu_layers)
    return _split(case, needed, held, margin_bytes, host_experts=True)


def _rooms(case: Case, needed: Footprint, margin_bytes: int) -> list[int] | None:
    """Bytes that each device has for weights and cache, once activations, overhead and a margin are taken.

    None where a device's memory is not known.
    """
    sizes = [usable_bytes(case.target, device, case.engine) for device in case.devices]
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    if len(known) < len(sizes):
        return None
    taken_bytes = (needed.overhead.size_bytes + needed.activations.size_bytes) // len(sizes) + margin_bytes
    return [max(0, size_bytes - taken_bytes) for size_bytes in known]


def _split(case: Case, needed: Footprint, held: Held, margin_bytes: int, *, host_experts: bool = False) -> Placement:
    """The placement that has `held` on the devices, by the room that each has, and the rest on the host."""
    rooms = _rooms(case, needed, margin_bytes)
    parts = _portions(held, rooms or [1] * len(case.devices))
    shares = tuple(share_of(case, device, part, needed) for device, part in zip(case.devices, parts, strict=True))
    host = Share(
        place="host",
        weights_bytes=needed.weights.size_bytes - held.weights_bytes,
        kv_cache_bytes=needed.kv_cache.size_bytes - held.kv_cache_bytes,
        activations_bytes=0,
        overhead_bytes=0,
        available_bytes=case.target.host_memory_bytes,
        layers=case.architecture.num_layers - held.layers,
    )
    device_short = max(0, held.weights_bytes + held.kv_cache_bytes - sum(rooms or [0]))
    host_short = 0 if host.available_bytes is None else max(0, host.total_bytes - host.available_bytes)
    return Placement(
        kind="offload",
        shares=shares,
        host=host,
        fits=rooms is not None and device_short == 0 and host_short == 0,
        shortfall_bytes=device_short + host_short,
        gpu_layers=held.layers,
        available_bytes=None if rooms is None else sum(share.available_bytes or 0 for share in shares),
        host_experts=host_experts,
    )


def _portions(held: Held, rooms: list[int]) -> list[Held]:
    """What the devices hold together, divided in proportion to their room; the last takes what rounding leaves."""
    total = sum(rooms) or 1

    def portions(amount: int) -> list[int]:
        first = [amount * room // total for room in rooms[:-1]]
        return [*first, amount - sum(first)]

    sizes = (portions(held.weights_bytes), portions(held.kv_cache_bytes), portions(held.layers))
    return [Held(*part) for part in zip(*sizes, strict=True)]
