"""Where a model lies: on one device, over several, or split with the host. Formulas: docs/memory.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from sizer.device.records import Device, Target
from sizer.estimate.footprint import EngineMemory, footprint, kv_cache_part
from sizer.estimate.kv_cache import cache_format, sequence_cache_bytes
from sizer.estimate.records import Footprint, Placement, Share
from sizer.estimate.workload import Workload
from sizer.model.architecture import Architecture, MixerKind, Module, Role, Tower
from sizer.precision.stored import Stored
from sizer.tables import read_rows

SHARDED_MODULES = frozenset(
    {Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D, Module.EXPERT_STACK, Module.EMBEDDING}
)
REPLICATED_ROLES = frozenset({Role.ROUTER, Role.NORM, Role.Q_A, Role.KV_A, Role.POSITION})
"""What every rank of a tensor-parallel group holds whole: routers, norms, the low-rank MLA inputs, positions."""
CPU_KINDS = frozenset({"cpu", "sbc"})
LONGEST_CONTEXT_TOKENS = 2**30


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that placement looks at, in one record."""

    architecture: Architecture
    stored: Stored
    workload: Workload
    target: Target
    engine: EngineMemory
    parallelism: str
    can_offload: bool
    experts_first: bool
    engine_version: str = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices of the target, equal ones repeated, unlike ones after them."""
        return (self.target.device,) * self.target.count + self.target.others

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on a CPU, out of the system's memory."""
        return self.target.device.kind in CPU_KINDS


@dataclass(frozen=True, slots=True)
class Held:
    """Weights, cache and layers that one place holds."""

    weights_bytes: int
    kv_cache_bytes: int
    layers: int


@cache
def _usable_rows() -> tuple[tuple[str, int, float], ...]:
    rows = read_rows("unified_memory.csv")
    return tuple((row["kind"], int(row["max_memory_bytes"] or 2**62), float(row["usable_fraction"])) for row in rows)


def usable_bytes(target: Target, device: Device, engine: EngineMemory) -> int | None:
    """Memory of one device that a model may take: less what the OS keeps (unified memory) or the engine leaves free.

    None where the device's memory is not known (a CPU without --ram).
    """
    memory_bytes = target.host_memory_bytes if device.kind in CPU_KINDS else device.memory_bytes
    if memory_bytes is None:
        memory_bytes = device.memory_bytes
    if memory_bytes is None:
        return None
    for kind, max_memory_bytes, fraction in _usable_rows():
        if kind == device.kind and memory_bytes <= max_memory_bytes:
            memory_bytes = int(memory_bytes * fraction)
            break
    if engine.allocates == "fraction_of_device" and engine.device_fraction:
        return int(memory_bytes * engine.device_fraction)
    return memory_bytes


def weights_by_layer(stored: Stored) -> tuple[dict[int, int], dict[int, int], int, int]:
    """Bytes by layer (all, and experts alone), of the input side (embeddings, towers) and of the output side."""
    layer_bytes: dict[int, int] = defaultdict(int)
    expert_bytes: dict[int, int] = defaultdict(int)
    input_bytes = output_bytes = 0
    for entry in stored.tensors:
        tensor = entry.tensor
        if tensor.checkpoint_only:
            continue
        if tensor.tower is not Tower.TEXT or not tensor.layers:
            is_output = tensor.role in {Role.LM_HEAD, Role.NORM} and tensor.tower is Tower.TEXT
            output_bytes += entry.size_bytes if is_output else 0
            input_bytes += 0 if is_output else entry.size_bytes
            continue
        each = entry.size_bytes // len(tensor.layers)
        for layer in tensor.layers:
            layer_bytes[layer] += each
            if tensor.module is Module.EXPERT_STACK:
                expert_bytes[layer] += each
    return layer_bytes, expert_bytes, input_bytes, output_bytes


def kv_by_layer(case: Case) -> list[int]:
    """Cache bytes of each layer at the workload's context and batch."""
    kv_format = cache_format(case.workload.kv_precision)
    block = case.engine.kv_block_tokens
    context_tokens = -(-case.workload.context_tokens // block) * block
    by_mixers: dict[object, int] = {}
    sizes = []
    for layer in case.architecture.layers:
        if layer.mixers not in by_mixers:
            one = sequence_cache_bytes(
                case.architecture, context_tokens, kv_format, case.engine.state_bytes_per_value, (layer,)
            )
            by_mixers[layer.mixers] = one * case.workload.batch_size
        sizes.append(by_mixers[layer.mixers])
    return sizes


def place(case: Case) -> tuple[Footprint, Placement]:
    """The footprint of a case, and where it lies.

    One device, or several by `parallelism` (tensor or layer); where they cannot hold it, split with the host if the
    engine can and a host is known; else nothing fits, and the shortfall says by how much.
    """
    needed = footprint(
        case.architecture,
        case.stored,
        case.workload,
        case.engine,
        on_cpu=case.on_cpu,
        device_count=len(case.devices),
        engine_version=case.engine_version,
    )
    shares = _device_shares(case, needed)
    placed = _whole(case, shares)
    if case.workload.gpu_layers is not None and not case.on_cpu and case.target.host is not None:
        return needed, _split_at(case, needed, case.workload.gpu_layers)
    if placed.fits or case.on_cpu or case.target.host is None or not case.can_offload:
        return needed, placed
    split = _best_split(case, needed)
    return needed, split if split is not None else placed


def _whole(case: Case, shares: Sequence[Share]) -> Placement:
    """The placement with everything on the devices, whether it fits or not."""
    kind = "single" if len(shares) == 1 else case.parallelism
    known = [share.available_bytes for share in shares if share.available_bytes is not None]
    available_bytes = sum(known) if len(known) == len(shares) else None
    missing = [max(0, share.total_bytes - (share.available_bytes or 0)) for share in shares]
    shortfall_bytes = sum(missing) if available_bytes is not None else 0
    reserved_bytes, capacity_tokens = _reserved(case, shares, available_bytes)
    return Placement(
        kind=kind,
        shares=tuple(shares),
        host=None,
        fits=available_bytes is not None and shortfall_bytes == 0,
        shortfall_bytes=shortfall_bytes,
        gpu_layers=0 if case.on_cpu else case.architecture.num_layers,
        available_bytes=available_bytes,
        reserved_bytes=reserved_bytes,
        kv_capacity_tokens=capacity_tokens,
        notes=() if available_bytes is not None else ("The device's memory is not known: give --ram or --memory.",),
    )


def _reserved(case: Case, shares: Sequence[Share], available_bytes: int | None) -> tuple[int | None, int | None]:
    """What an engine that allocates ahead takes, and the tokens of cache that fit into it, all sequences together."""
    fraction = case.engine.device_fraction
    if available_bytes is None or fraction is None or not case.architecture.layers:
        return None, None
    fixed_bytes = sum(share.total_bytes - share.kv_cache_bytes for share in shares)
    if case.engine.allocates == "fraction_of_free":
        available_bytes = fixed_bytes + int(max(0, available_bytes - fixed_bytes) * fraction)
    if fixed_bytes >= available_bytes:
        return available_bytes, 0
    one = replace(case, workload=replace(case.workload, batch_size=1))
    return available_bytes, _longest(one, available_bytes - fixed_bytes, LONGEST_CONTEXT_TOKENS)


def _device_shares(case: Case, needed: Footprint) -> list[Share]:
    """What each device holds when the devices alone hold everything."""
    devices = case.devices
    if len(devices) == 1:
        held = Held(needed.weights.size_bytes, needed.kv_cache.size_bytes, case.architecture.num_layers)
        return [_share(case, devices[0], held, needed)]
    if case.parallelism == "tensor":
        held = _tensor_shard(case, needed, len(devices))
        return [_share(case, device, held, needed) for device in devices]
    return _layer_shares(case, needed)


def _share(case: Case, device: Device, held: Held, needed: Footprint) -> Share:
    return Share(
        place=device.key,
        weights_bytes=held.weights_bytes,
        kv_cache_bytes=held.kv_cache_bytes,
        activations_bytes=needed.activations.size_bytes,
        overhead_bytes=needed.overhead.size_bytes // len(case.devices),
        available_bytes=usable_bytes(case.target, device, case.engine),
        layers=held.layers,
    )


def _tensor_shard(case: Case, needed: Footprint, ranks: int) -> Held:
    """Weights and cache of one rank: matrices split evenly, the rest replicated, KV heads whole, the MLA latent too."""
    weights_bytes = 0
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if tensor.checkpoint_only:
            continue
        sharded = tensor.module in SHARDED_MODULES and tensor.role not in REPLICATED_ROLES and len(tensor.shape) > 1
        weights_bytes += -(-entry.size_bytes // ranks) if sharded else entry.size_bytes
    kv_bytes = needed.kv_cache.size_bytes
    mixers = {mixer for layer in case.architecture.layers for mixer in layer.mixers}
    if any(mixer.kind is MixerKind.MLA for mixer in mixers):
        return Held(weights_bytes, kv_bytes, case.architecture.num_layers)
    kv_heads = max((mixer.kv_heads for mixer in mixers), default=0)
    if kv_heads:
        kv_bytes = kv_bytes * -(-kv_heads // ranks) // kv_heads
    return Held(weights_bytes, kv_bytes, case.architecture.num_layers)


def _layer_shares(case: Case, needed: Footprint) -> list[Share]:
    """Whole layers by capacity: each device takes layers until its part of the total capacity is used."""
    devices = case.devices
    capacities = [usable_bytes(case.target, device, case.engine) or 0 for device in devices]
    layer_bytes, _, input_bytes, output_bytes = weights_by_layer(case.stored)
    kv_sizes = kv_by_layer(case)
    total_bytes = needed.weights.size_bytes + needed.kv_cache.size_bytes
    total_capacity = sum(capacities) or len(devices)
    weights, kv, layers = [0] * len(devices), [0] * len(devices), [0] * len(devices)
    weights[0] += input_bytes
    weights[-1] += output_bytes
    position, limit, used = 0, total_bytes * (capacities[0] or 1) / total_capacity, float(input_bytes)
    for index in range(case.architecture.num_layers):
        size_bytes = layer_bytes.get(index, 0) + kv_sizes[index]
        while position < len(devices) - 1 and used + size_bytes / 2 > limit:
            position += 1
            limit += total_bytes * (capacities[position] or 1) / total_capacity
        used += size_bytes
        weights[position] += layer_bytes.get(index, 0)
        kv[position] += kv_sizes[index]
        layers[position] += 1
    weights[0] += needed.weights.size_bytes - sum(weights)
    held = [Held(*sizes) for sizes in zip(weights, kv, layers, strict=True)]
    return [_share(case, device, part, needed) for device, part in zip(devices, held, strict=True)]


def _best_split(case: Case, needed: Footprint) -> Placement | None:
    """The split with the host that keeps most on the devices; None where host and devices together are too small."""
    if case.experts_first and case.architecture.experts:
        split = _split_experts(case, needed)
        if split is not None and split.fits:
            return split
    low, high = 0, case.architecture.num_layers
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _split_at(case, needed, middle).fits else (low, middle - 1)
    split = _split_at(case, needed, low)
    return split if split.fits else None


def _split_at(case: Case, needed: Footprint, gpu_layers: int) -> Placement:
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
    return sum(known) - needed.overhead.size_bytes - needed.activations.size_bytes * len(case.devices)


def _split(case: Case, needed: Footprint, held: Held, *, host_experts: bool) -> Placement:
    """The placement that has `held` on the devices and the rest on the host."""
    count = len(case.devices)
    each = Held(held.weights_bytes // count, held.kv_cache_bytes // count, held.layers // count)
    shares = tuple(_share(case, device, each, needed) for device in case.devices)
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


def max_context_tokens(case: Case, placement: Placement) -> int | None:
    """The longest context that this placement holds at this batch, at most the model's own; None if it cannot be told.

    The cache is the only part that grows with the context, so what the rest leaves free bounds it: on the fullest
    device, or over devices and host together where layers may move to the host.
    """
    if placement.available_bytes is None or not case.architecture.layers:
        return None
    ceiling = case.architecture.max_context_tokens or LONGEST_CONTEXT_TOKENS
    if placement.host is not None:
        places = (*placement.shares, placement.host)
        if any(share.available_bytes is None for share in places):
            return None
        free_bytes = sum((share.available_bytes or 0) - share.total_bytes + share.kv_cache_bytes for share in places)
        return _longest(case, free_bytes, ceiling) if free_bytes > 0 else 0
    total_kv = sum(share.kv_cache_bytes for share in placement.shares)
    whole_kv = kv_cache_part(case.architecture, case.workload, case.engine).size_bytes
    rooms = []
    for share in placement.shares:
        free_bytes = (share.available_bytes or 0) - (share.total_bytes - share.kv_cache_bytes)
        fraction = share.kv_cache_bytes / whole_kv if total_kv else 1.0
        rooms.append(free_bytes / fraction if fraction else float("inf"))
    room_bytes = min(rooms)
    return _longest(case, int(min(room_bytes, 2**62)), ceiling) if room_bytes > 0 else 0


def _longest(case: Case, room_bytes: int, ceiling_tokens: int) -> int:
    """The longest context whose cache fits into `room_bytes`, found by bisection (the cache never shrinks with it)."""

    def fits(context_tokens: int) -> bool:
        workload = replace(case.workload, context_tokens=context_tokens)
        return kv_cache_part(case.architecture, workload, case.engine).size_bytes <= room_bytes

    low, high = 0, ceiling_tokens
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
