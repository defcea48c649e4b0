"""Where a model lies: on one device, over several, or split with the host. Formulas: docs/memory.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.engine.memory_rules import EngineMemory
from sizer.memory.beside import all_caches, draft_taken
from sizer.memory.bisection import last_that_holds
from sizer.memory.cache import whole_cache
from sizer.memory.capacity import pool_shortage_bytes, reservation
from sizer.memory.case import Case
from sizer.memory.footprint import footprint, kv_cache_bytes
from sizer.memory.host_split import host_compute_bytes
from sizer.memory.host_weights import weights_kept_on_host
from sizer.memory.layer_split import by_count, capacities_of
from sizer.memory.offload import best_split, counted_layers, layers_asked, split_as_told, split_at
from sizer.memory.records import Footprint, Placement, Share, held_as
from sizer.memory.shard import tensor_shard
from sizer.memory.shares import (
    Held,
    host_tables_bytes,
    kv_by_layer,
    share_of,
    table_bytes,
    usable_bytes,
    weights_by_layer,
)
from sizer.workload import Split

LONGEST_CONTEXT_TOKENS = 2**30
"""Where the model tells no longest context, what memory leaves room for is searched up to this."""


def place(case: Case) -> tuple[Footprint, Placement]:
    """The footprint of a case as its places hold it, and where it lies."""
    needed, placement = _placed(case)
    return _as_held(case, needed, placement), placement


def _as_held(case: Case, needed: Footprint, placement: Placement) -> Footprint:
    """The footprint whose total is what the devices hold, and of the host what lies there alone: tables, layers, cache.

    Weights and cache count once; what each rank repeats of them (a latent, a shared head, a data-parallel copy) is a
    part of the overhead.
    """
    alone = placement.host is not None or not case.architecture.tied_embeddings
    held_bytes = placement.device_bytes + (placement.host_bytes if alone else host_tables_bytes(case))
    working = held_as(needed.activations, sum(share.compute_bytes for share in placement.shares), "rest")
    rest_bytes = held_bytes - needed.weights.size_bytes - needed.kv_cache.size_bytes - working.size_bytes
    return replace(needed, activations=working, overhead=held_as(needed.overhead, rest_bytes, "repeated by ranks"))


def _placed(case: Case, *, told: bool = True) -> tuple[Footprint, Placement]:
    """What a case needs, each tensor and each cached value once, and where it lies.

    One device, or several by `parallelism` (tensor or layer); where they cannot hold it, split with the host if the
    engine can and a host is known; else nothing fits, and the shortfall says by how much: roughly unless it is `told`.
    """
    can_split = case.can_offload and not case.on_cpu and case.target.host is not None
    needed = footprint(case)
    if case.can_offload and not case.on_cpu:
        flagged = split_as_told(case, needed)
        if flagged is not None:
            return needed, flagged
    asked = layers_asked(case)
    if can_split:
        asked = _layers_expected(case) if asked is None else asked
        if asked is not None and asked < counted_layers(case):
            return needed, split_at(case, needed, asked)
    placed = _whole(case, _device_shares(case, needed))
    if placed.fits or not can_split or asked is not None:
        return needed, placed
    split = best_split(case, needed)
    if split is None:
        return needed, replace(placed, shortfall_bytes=_short_together(case, needed, placed)) if told else placed
    return needed, split


def _layers_expected(case: Case) -> int | None:
    """The layers that an engine on another's code sends to the devices by an estimate of its own; None without one."""
    if not case.engine.like:
        return None
    from sizer.memory.own_estimate import layers_by_own_estimate

    return layers_by_own_estimate(case)


def _short_together(case: Case, needed: Footprint, placed: Placement) -> int:
    """By how much devices and host together are too small for what they would share."""
    host_bytes = case.target.host_memory_bytes
    if host_bytes is None or placed.available_bytes is None:
        return placed.shortfall_bytes
    missing_bytes = placed.device_bytes + placed.beside.total_bytes - placed.available_bytes - host_bytes
    if missing_bytes > 0:
        return missing_bytes
    # Layers are whole, and a margin stays free: what the nearest split lacks.
    margin_bytes = case.options.fit_margin_bytes or case.engine.split_margin_bytes
    splits = (split_at(case, needed, count, margin_bytes) for count in range(case.architecture.num_layers + 1))
    return min(split.shortfall_bytes for split in splits) or placed.shortfall_bytes


def _whole(case: Case, shares: Sequence[Share]) -> Placement:
    """The placement with everything on the devices, whether it fits or not."""
    kind = "single" if len(shares) == 1 else _kind(case.parallelism)
    shares, host = weights_kept_on_host(case, shares)
    known = [share.available_bytes for share in shares if share.available_bytes is not None]
    available_bytes = sum(known) if len(known) == len(shares) else None
    missing_bytes = sum(share.missing_bytes for share in shares) or pool_shortage_bytes(case, shares)
    missing_bytes += host.missing_bytes if host is not None else 0
    shortfall_bytes = missing_bytes if available_bytes is not None else 0
    held = reservation(case, shares)
    return Placement(
        kind=kind if host is None else "offload",
        shares=tuple(shares),
        host=host,
        fits=available_bytes is not None and shortfall_bytes == 0,
        shortfall_bytes=shortfall_bytes,
        gpu_layers=0 if case.on_cpu else case.architecture.num_layers,
        available_bytes=available_bytes,
        reserved_bytes=held.reserved_bytes,
        kv_capacity_tokens=held.kv_capacity_tokens,
        max_sequences=held.max_sequences,
        host_experts=host is not None and case.options.device_experts is not None,
        host_tables_bytes=table_bytes(case) + draft_taken(case).host_bytes,
        host_compute_bytes=host_compute_bytes(case),
    )


def _device_shares(case: Case, needed: Footprint) -> list[Share]:
    """What each device holds when the devices alone hold everything."""
    devices = case.devices
    if len(devices) == 1:
        cache = all_caches(case)
        weights_bytes = needed.weights.size_bytes - host_tables_bytes(case)
        held = Held(weights_bytes, cache.attention_bytes, case.architecture.num_layers, cache.state_bytes)
        return [share_of(case, devices[0], held, needed)]
    if not case.architecture.layers:
        return _even_shares(case, needed)
    if case.parallelism is Split.DATA:
        return [share_of(case, device, _copy(case, needed), needed) for device in devices]
    if case.ranks > 1 or case.replicas > 1:
        held = tensor_shard(case)
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
    one = replace(case, workload=replace(case.workload, batch_size=sequences))
    cache = whole_cache(one.architecture, one.plan)
    return Held(needed.weights.size_bytes, cache.attention_bytes, case.architecture.num_layers, cache.state_bytes)


def _even_shares(case: Case, needed: Footprint) -> list[Share]:
    """The shares of a model known by its name alone, whose layers nobody knows: all even, or by each card's room."""
    rooms = [usable_bytes(case, device) or 0 for device in case.devices]
    if not case.parallelism.whole_layers or not sum(rooms):
        rooms = [1] * len(case.devices)
    sizes = [-(-needed.weights.size_bytes * room // sum(rooms)) for room in rooms]
    held = [Held(size_bytes, needed.kv_cache.size_bytes // len(sizes), 0) for size_bytes in sizes]
    return [share_of(case, device, part, needed) for device, part in zip(case.devices, held, strict=True)]


def _layer_shares(case: Case, needed: Footprint) -> list[Share]:
    """Whole layers by capacity (or by --tensor-split): each device takes layers until its part is used."""
    devices, capacities = case.devices, capacities_of(case)
    layer_bytes, _, input_bytes, output_bytes = weights_by_layer(case.stored)
    caches = kv_by_layer(case)
    sizes = [layer_bytes.get(index, 0) + sum(cache) for index, cache in enumerate(caches)]
    if case.graph is not None:
        positions = by_count(len(sizes), capacities)
    else:
        positions = _by_bytes(sizes, input_bytes, needed.weights.size_bytes + needed.kv_cache.size_bytes, capacities)
    held = [[0, 0, 0, 0] for _ in devices]
    draft = draft_taken(case).cache
    held[0] = [input_bytes, draft.attention_bytes, 0, draft.state_bytes]
    held[-1][0] += output_bytes
    for index, (position, cache) in enumerate(zip(positions, caches, strict=True)):
        for number, amount in enumerate((layer_bytes.get(index, 0), cache.attention_bytes, 1, cache.state_bytes)):
            held[position][number] += amount
    held[0][0] += needed.weights.size_bytes - sum(part[0] for part in held) - host_tables_bytes(case)
    return [share_of(case, device, Held(*part), needed) for device, part in zip(devices, held, strict=True)]


def _by_bytes(sizes: Sequence[int], input_bytes: int, total_bytes: int, capacities: Sequence[int]) -> list[int]:
    """The device of each layer where bytes decide: each takes layers until its part of the total is used."""
    total_capacity = sum(capacities) or len(capacities)
    position, limit, used = 0, total_bytes * (capacities[0] or 1) / total_capacity, float(input_bytes)
    positions = []
    for size_bytes in sizes:
        while position < len(capacities) - 1 and used + size_bytes / 2 > limit:
            position += 1
            limit += total_bytes * (capacities[position] or 1) / total_capacity
        used += size_bytes
        positions.append(position)
    return positions


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
    shared = case.graph is None or case.graph.slot_context == "shared"
    free = replace(case, options=replace(case.options, context_tokens=None)) if shared else case
    guess = _guess(free, placement, ceiling)

    def holds(context_tokens: int) -> bool:
        longer = replace(free, workload=replace(case.workload, context_tokens=context_tokens))
        if placement.host:
            return _placed(longer, told=False)[1].fits
        shares = _device_shares(longer, footprint(longer))
        return not any(share.missing_bytes for share in shares) and pool_shortage_bytes(longer, shares) == 0

    return last_that_holds(holds, ceiling, guess)


def _guess(case: Case, placement: Placement, ceiling: int) -> int:
    """About the longest context: as if the cache alone grew with it, in the proportions of this placement."""
    places = (*placement.shares, *([placement.host] if placement.host else []))
    whole_kv = sum(share.cache_bytes for share in places)
    rooms = [(share.available_bytes or 0) - (share.total_bytes - share.cache_bytes) for share in places]
    if placement.host is not None or not whole_kv:
        return _longest(case, max(0, sum(rooms)), ceiling)
    held_kv = kv_cache_bytes(case)
    fractions = [share.cache_bytes / held_kv for share in places]
    room_bytes = min(room / fraction for room, fraction in zip(rooms, fractions, strict=True) if fraction)
    return _longest(case, int(min(max(0.0, room_bytes), 2**62)), ceiling)


def _longest(case: Case, room_bytes: int, ceiling_tokens: int) -> int:
    """The longest context whose cache fits into `room_bytes`: about as much of the ceiling's as there is room for."""

    def taken_bytes(context_tokens: int) -> int:
        workload = replace(case.workload, context_tokens=context_tokens)
        return kv_cache_bytes(replace(case, workload=workload))

    guess = room_bytes * ceiling_tokens // max(1, taken_bytes(ceiling_tokens))
    return last_that_holds(lambda tokens: taken_bytes(tokens) <= room_bytes, ceiling_tokens, min(guess, ceiling_tokens))
