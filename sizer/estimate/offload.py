"""Splits a model that its devices cannot hold with the host: whole layers, or the experts of a mixture first."""

from __future__ import annotations

from sizer.estimate.records import Footprint, Placement, Share
from sizer.estimate.shares import Case, Held, kv_by_layer, share_of, usable_bytes, weights_by_layer


def best_split(case: Case, needed: Footprint) -> Placement | None:
    """The split with the host that keeps most on the devices; None where host and devices together are too small."""
    if case.experts_first and case.architecture.experts:
        split = _split_experts(case, needed)
        if split is not None and split.fits:
            return split
    low, high = 0, case.architecture.num_layers
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if split_at(case, needed, middle).fits else (low, middle - 1)
    split = split_at(case, needed, low)
    return split if split.fits else None


def split_at(case: Case, needed: Footprint, gpu_layers: int) -> Placement:
    """The last `gpu_layers` layers (and the output, when all are) on the devices, the rest on the host."""
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    kv_sizes = kv_by_layer(case)
    count = case.architecture.num_layers
    gpu_layers = max(0, min(gpu_layers, count))
    on_device = range(count - gpu_layers, count)
    device_weights = sum(layer_bytes.get(index, 0) for index in on_device)
    device_weights += output_bytes if gpu_layers == count else 0
    device_kv = sum(kv_sizes[index] for index in on_device)
    return _split(case, needed, Held(device_weights, device_kv, gpu_layers), host_experts=False)


def _split_experts(case: Case, needed: Footprint) -> Placement | None:
    """Everything but experts on the devices, and the experts of as many layers as fit."""
    _, expert_bytes, input_bytes, _ = weights_by_layer(case.stored)
    room_bytes = _room(case, needed)
    if room_bytes is None:
        return None
    always_bytes = needed.weights.size_bytes - input_bytes - sum(expert_bytes.values())
    left_bytes = room_bytes - always_bytes - needed.kv_cache.size_bytes
    if left_bytes < 0:
        return None
    device_weights, gpu_layers = always_bytes, 0
    for size_bytes in sorted(expert_bytes.values()):
        if size_bytes <= left_bytes:
            left_bytes -= size_bytes
            device_weights += size_bytes
            gpu_layers += 1
    held = Held(device_weights, needed.kv_cache.size_bytes, gpu_layers)
    return _split(case, needed, held, host_experts=True)


def _room(case: Case, needed: Footprint) -> int | None:
    """Bytes that the devices have for weights and cache, once activations and overhead are taken."""
    sizes = [usable_bytes(case.target, device, case.engine) for device in case.devices]
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    if len(known) < len(sizes):
        return None
    return sum(known) - needed.overhead.size_bytes - needed.activations.size_bytes


def _split(case: Case, needed: Footprint, held: Held, *, host_experts: bool) -> Placement:
    """The placement that has `held` on the devices and the rest on the host."""
    count = len(case.devices)
    each = Held(held.weights_bytes // count, held.kv_cache_bytes // count, held.layers // count)
    shares = tuple(share_of(case, device, each, needed) for device in case.devices)
    host = Share(
        place="host",
        weights_bytes=needed.weights.size_bytes - held.weights_bytes,
        kv_cache_bytes=needed.kv_cache.size_bytes - held.kv_cache_bytes,
        activations_bytes=0,
        overhead_bytes=0,
        available_bytes=case.target.host_memory_bytes,
        layers=case.architecture.num_layers - held.layers,
    )
    device_room = _room(case, needed)
    device_short = max(0, held.weights_bytes + held.kv_cache_bytes - (device_room or 0))
    host_short = 0 if host.available_bytes is None else max(0, host.total_bytes - host.available_bytes)
    return Placement(
        kind="offload",
        shares=shares,
        host=host,
        fits=device_room is not None and device_short == 0 and host_short == 0,
        shortfall_bytes=device_short + host_short,
        gpu_layers=held.layers,
        available_bytes=None if device_room is None else sum(share.available_bytes or 0 for share in shares),
        host_experts=host_experts,
    )
