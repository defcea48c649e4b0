"""Where a model lies: on one device, over several, or split with the host. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.engine.memory_rules import EngineMemory
from sizer.memory.footprint import footprint, kv_cache_bytes
from sizer.memory.offload import best_split, split_at
from sizer.memory.records import Footprint, Placement, Share
from sizer.memory.shares import Case, Held, host_tables_bytes, kv_by_layer, share_of, usable_bytes, weights_by_layer
from sizer.model.architecture import MixerKind, Module, Role
from sizer.workload import Split

SHARDED_MODULES = frozenset(
    {Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D, Module.EXPERT_STACK, Module.EMBEDDING}
)
REPLICATED_ROLES = frozenset({Role.ROUTER, Role.NORM, Role.Q_A, Role.KV_A, Role.POSITION})
"""What every rank of a tensor-parallel group holds whole: routers, norms, the low-rank MLA inputs, positions."""
LONGEST_CONTEXT_TOKENS = 2**30


def place(case: Case) -> tuple[Footprint, Placement]:
    """The footprint of a case, and where it lies.

    One device, or several by `parallelism` (tensor or layer); where they cannot hold it, split with the host if the
    engine can and a host is known; else nothing fits, and the shortfall says by how much.
    """
    can_split = case.can_offload and not case.on_cpu and case.target.host is not None
    needed = _needed(case)
    if case.workload.gpu_layers is not None and can_split:
        return needed, split_at(case, needed, case.workload.gpu_layers)
    placed = _whole(case, _device_shares(case, needed))
    if placed.fits or not can_split:
        return needed, placed
    split = best_split(case, needed)
    return needed, split if split is not None else placed


def _needed(case: Case) -> Footprint:
    """The footprint of a case on its devices."""
    return footprint(
        case.architecture,
        case.stored,
        case.workload,
        case.engine,
        on_cpu=case.on_cpu,
        device_count=len(case.devices),
        ranks=len(case.devices) if case.parallelism.within_layers else 1,
    )


def _missing_bytes(shares: Sequence[Share]) -> int:
    """By how much the devices are too small, together."""
    return sum(max(0, share.total_bytes - (share.available_bytes or 0)) for share in shares)


def _whole(case: Case, shares: Sequence[Share]) -> Placement:
    """The placement with everything on the devices, whether it fits or not."""
    kind = "single" if len(shares) == 1 else _kind(case.parallelism)
    known = [share.available_bytes for share in shares if share.available_bytes is not None]
    available_bytes = sum(known) if len(known) == len(shares) else None
    shortfall_bytes = _missing_bytes(shares) if available_bytes is not None else 0
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
        host_tables_bytes=host_tables_bytes(case),
    )


def _reserved(case: Case, shares: Sequence[Share], available_bytes: int | None) -> tuple[int | None, int | None]:
    """What an engine that allocates ahead takes, and the tokens of cache that fit into it, all sequences together."""
    fraction = case.engine.device_fraction
    if available_bytes is None or fraction is None or not case.architecture.layers:
        return None, None
    fixed_bytes = sum(share.total_bytes - share.kv_cache_bytes for share in shares)
    if case.engine.allocates == "fraction_of_free":
        available_bytes = fixed_bytes + int(max(0, available_bytes - fixed_bytes) * fraction)
    elif case.engine.allocates == "fraction_of_device_for_cache":
        available_bytes = min(available_bytes, fixed_bytes + int(available_bytes * fraction))
    if fixed_bytes >= available_bytes:
        return available_bytes, 0
    one = replace(case, workload=replace(case.workload, batch_size=1))
    return available_bytes, _longest(one, available_bytes - fixed_bytes, LONGEST_CONTEXT_TOKENS)


def _device_shares(case: Case, needed: Footprint) -> list[Share]:
    """What each device holds when the devices alone hold everything."""
    devices = case.devices
    if len(devices) == 1:
        weights_bytes = needed.weights.size_bytes - host_tables_bytes(case)
        held = Held(weights_bytes, needed.kv_cache.size_bytes, case.architecture.num_layers)
        return [share_of(case, devices[0], held, needed)]
    if not case.architecture.layers:
        return _even_shares(case, needed)
    if case.parallelism is Split.DATA:
        return [share_of(case, device, _copy(case, needed), needed) for device in devices]
    if case.parallelism.within_layers:
        held = _tensor_shard(case, needed, len(devices))
        return [share_of(case, device, held, needed) for device in devices]
    return _layer_shares(case, needed)


def _kind(parallelism: Split) -> str:
    """How a placement over several devices is told: by whole layers, by copies, or within layers."""
    if parallelism is Split.DATA:
        return "data"
    return "layer" if parallelism.whole_layers else "tensor"


def _copy(case: Case, needed: Footprint) -> Held:
    """What each device of a data-parallel group holds: a whole copy, and the cache of its share of the sequences."""
    sequences = -(-case.workload.batch_size // len(case.devices))
    one = replace(case.workload, batch_size=sequences)
    kv_bytes = kv_cache_bytes(case.architecture, one, case.engine)
    return Held(needed.weights.size_bytes, kv_bytes, case.architecture.num_layers)


def _even_shares(case: Case, needed: Footprint) -> list[Share]:
    """The shares of a model known by its name alone, whose layers nobody knows: all even, or by each card's room."""
    rooms = [usable_bytes(case.target, device, case.engine) or 0 for device in case.devices]
    if not case.parallelism.whole_layers or not sum(rooms):
        rooms = [1] * len(case.devices)
    sizes = [-(-needed.weights.size_bytes * room // sum(rooms)) for room in rooms]
    held = [Held(size_bytes, needed.kv_cache.size_bytes // len(sizes), 0) for size_bytes in sizes]
    return [share_of(case, device, part, needed) for device, part in zip(case.devices, held, strict=True)]


def _tensor_shard(case: Case, needed: Footprint, ranks: int) -> Held:
    """Weights and cache of one rank: matrices split evenly, the rest replicated, KV heads whole, the MLA latent too."""
    weights_bytes = 0
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if tensor.checkpoint_only:
            continue
        sharded = tensor.module in SHARDED_MODULES and tensor.role not in REPLICATED_ROLES and len(tensor.shape) > 1
        weights_bytes += -(-entry.size_bytes // ranks) if sharded else entry.size_bytes
    weights_bytes -= host_tables_bytes(case) // ranks
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
    weights[0] += needed.weights.size_bytes - sum(weights) - host_tables_bytes(case)
    held = [Held(*sizes) for sizes in zip(weights, kv, layers, strict=True)]
    return [share_of(case, device, part, needed) for device, part in zip(devices, held, strict=True)]


def counted_bytes(needed: Footprint, placement: Placement, engine: EngineMemory) -> int:
    """What people who measure this engine report: its reservation, what its allocator took, or what a driver shows."""
    if placement.reserved_bytes is not None:
        total_bytes = placement.reserved_bytes
    else:
        total_bytes = placement.device_bytes - (
            needed.overhead.size_bytes if engine.usual_counter == "allocated" else 0
        )
    return total_bytes // len(placement.shares) if engine.usual_counter == "each device" else total_bytes


def max_context_tokens(case: Case, placement: Placement) -> int | None:
    """The longest context that this placement holds at this batch, at most the model's own; None if it cannot be told.

    For a model that the devices hold whole, the longest that they hold without the host; for one that is split, the
    longest that devices and host hold. 0 where not even the shortest fits.
    """
    places = (*placement.shares, *([placement.host] if placement.host else []))
    if any(share.available_bytes is None for share in places) or not case.architecture.layers:
        return None
    ceiling = case.architecture.max_context_tokens or LONGEST_CONTEXT_TOKENS
    guess = _guess(case, placement, ceiling)

    def holds(context_tokens: int) -> bool:
        longer = replace(case, workload=replace(case.workload, context_tokens=context_tokens))
        return place(longer)[1].fits if placement.host else _missing_bytes(_device_shares(longer, _needed(longer))) == 0

    low, high = 0, ceiling
    for known in (guess, guess + 1):
        if low <= known <= high:
            low, high = (known, high) if holds(known) else (low, known - 1)
    return _last(holds, low, high)


def _guess(case: Case, placement: Placement, ceiling: int) -> int:
    """About the longest context: as if the cache alone grew with it, in the proportions of this placement."""
    places = (*placement.shares, *([placement.host] if placement.host else []))
    whole_kv = sum(share.kv_cache_bytes for share in places)
    rooms = [(share.available_bytes or 0) - (share.total_bytes - share.kv_cache_bytes) for share in places]
    if placement.host is not None or not whole_kv:
        return _longest(case, max(0, sum(rooms)), ceiling)
    held_kv = kv_cache_bytes(case.architecture, case.workload, case.engine)
    fractions = [share.kv_cache_bytes / held_kv for share in places]
    room_bytes = min(room / fraction for room, fraction in zip(rooms, fractions, strict=True) if fraction)
    return _longest(case, int(min(max(0.0, room_bytes), 2**62)), ceiling)


def _longest(case: Case, room_bytes: int, ceiling_tokens: int) -> int:
    """The longest context whose cache fits into `room_bytes`."""

    def fits(context_tokens: int) -> bool:
        workload = replace(case.workload, context_tokens=context_tokens)
        return kv_cache_bytes(case.architecture, workload, case.engine) <= room_bytes

    return _last(fits, 0, ceiling_tokens)


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last number from `low` to `high` that holds, where all before it do (`low` is taken to), by bisection."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
