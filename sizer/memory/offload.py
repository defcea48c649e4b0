"""Splits a model that its devices cannot hold with the host: whole layers, or the experts of a mixture first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sizer.memory.beside import added_compute, added_weights, all_caches, draft_taken
from sizer.memory.bisection import last_that_holds
from sizer.memory.case import Case
from sizer.memory.graph.decoder import Buffers
from sizer.memory.layer_split import even_counts, parts_by_layer
from sizer.memory.records import Footprint, Placement, Share
from sizer.memory.shares import (
    Held,
    host_tables_bytes,
    kv_by_layer,
    share_of,
    table_bytes,
    usable_bytes,
    weights_by_layer,
)
from sizer.memory.tensor_places import told_bytes
from sizer.memory.working import graph_buffers, part_of, split_part
from sizer.model.architecture import MlpKind
from sizer.workload import Split


def best_split(case: Case, needed: Footprint) -> Placement | None:
    """The split with the host that keeps most on the devices, less the margin that the engine leaves free on each.

    None where host and devices together are too small.
    """
    margin_bytes = case.options.fit_margin_bytes or case.engine.split_margin_bytes
    if not case.architecture.layers:
        return _split_unknown(case, needed, margin_bytes)
    if case.experts_first and case.architecture.experts:
        split = _split_experts(case, needed, margin_bytes)
        if split is not None and split.fits:
            return split
    splits: dict[int, Placement] = {}

    def holds(layers: int) -> bool:
        """Whether the devices do: what the host lacks is less with every layer that they take."""
        split = splits[layers] = split_at(case, needed, layers, margin_bytes)
        host_bytes = split.host.missing_bytes if split.host is not None else 0
        return split.available_bytes is not None and split.shortfall_bytes == host_bytes

    most = last_that_holds(holds, counted_layers(case), _guessed_layers(case, needed, margin_bytes))
    if most not in splits:
        holds(most)
    return splits[most] if splits[most].fits else None


def _guessed_layers(case: Case, needed: Footprint, margin_bytes: int) -> int:
    """About how many layers the devices hold: those whose bytes fit where the buffers are as with half of them."""
    half = counted_layers(case) // 2
    buffers = split_buffers(case, case.architecture.num_layers - half, host_experts=False)
    room_bytes = sum(_rooms(case, needed, margin_bytes, buffers.device_bytes if buffers else None) or [0])

    def holds(layers: int) -> bool:
        held, _ = _held_at(case, layers)
        return held.weights_bytes + held.kv_cache_bytes + held.state_bytes <= room_bytes

    return last_that_holds(holds, counted_layers(case), half)


def counted_layers(case: Case) -> int:
    """What a number of layers on the devices counts at most: engines on ggml count the output layer as one."""
    return case.architecture.num_layers + (1 if case.graph is not None else 0)


def _split_unknown(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """The split of a model known by its name alone, whose layers nobody knows: as much on the devices as they hold."""
    room_bytes = min(sum(_rooms(case, needed, margin_bytes, None) or [0]), needed.weights.size_bytes)
    split = _split(case, needed, Held(room_bytes, 0, 0), margin_bytes)
    return split if split.fits else None


def split_at(case: Case, needed: Footprint, gpu_layers: int, margin_bytes: int = 0) -> Placement:
    """The last `gpu_layers` layers on the devices, the rest on the host; the output goes with them.

    Engines on ggml count the output layer and send it first (llama-model.cpp: i_gpu_start = n_layer + 1 - ngl); with
    the others it goes last, when all layers do. It fits where each device keeps `margin_bytes` free besides.
    """
    held, _ = _held_at(case, gpu_layers)
    return _split(case, needed, held, margin_bytes)


def _held_at(case: Case, gpu_layers: int) -> tuple[Held, range]:
    """What the devices hold with the last `gpu_layers` layers on them, and which layers those are."""
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    kv_sizes = kv_by_layer(case)
    count = case.architecture.num_layers
    asked = max(0, min(gpu_layers, counted_layers(case)))
    with_output = asked > 0 if case.graph is not None else asked == count
    on_devices = max(0, asked - 1) if case.graph is not None else asked
    held_layers = range(count - on_devices, count)
    weights = sum(layer_bytes.get(index, 0) for index in held_layers) + sum(added_weights(case).values())
    if with_output:
        weights += output_bytes + (table_bytes(case) if case.architecture.tied_embeddings else 0)
    caches = [] if case.options.cache_on_host else [kv_sizes[index] for index in held_layers]
    caches.append(draft_taken(case).cache)
    held = Held(weights, sum(c.attention_bytes for c in caches), on_devices, sum(c.state_bytes for c in caches))
    return held, held_layers


def _held_as_asked(case: Case) -> tuple[Held, range]:
    """What the devices hold with as many layers as are asked for, all of them where none are."""
    asked = layers_asked(case)
    return _held_at(case, counted_layers(case) if asked is None else asked)


def layers_asked(case: Case) -> int | None:
    """How many layers the user wants on the devices: --gpu-layers, or the engine's own flag (negative: all)."""
    if case.workload.gpu_layers is not None:
        return case.workload.gpu_layers
    if case.options.gpu_layers_share is not None:
        return round(case.options.gpu_layers_share * case.architecture.num_layers)
    flag = case.options.gpu_layers
    return None if flag is None or flag < 0 else flag


def split_as_told(case: Case, needed: Footprint) -> Placement | None:
    """The placement that flags ask for which leave weights or the cache of the devices' layers to the host, else None.

    `--n-cpu-moe N` and `--cpu-moe` keep the experts of the first layers there, `-ot PATTERN=CPU` what a pattern finds
    among the names of a GGUF file (the first pattern that finds a name decides). Layers that `-ngl` leaves to the host
    lie there whole.
    """
    options = case.options
    if options.cpu_moe_layers is None and not options.tensor_overrides and not options.cache_on_host:
        return None
    told = told_bytes(case)
    held, layers = _held_as_asked(case)
    own = case.architecture.num_layers  # layers behind them predict, and go as patterns find them
    kept = {layer: size for layer, size in told.host.items() if layer in layers or layer >= own}
    weights_bytes = held.weights_bytes - sum(kept.values())
    asked = layers_asked(case)
    if asked is None or asked >= counted_layers(case):
        weights_bytes += weights_by_layer(case.stored)[2] - table_bytes(case)  # the input, but for a table of the host
    counted = _layers_told(case, layers, kept)
    held = held._replace(weights_bytes=weights_bytes, layers=len(counted))
    parts = parts_by_layer(case, held, layers, told, counted) if _deals_layers(case) else None
    return _split(case, needed, held, 0, host_experts=bool(kept), parts=parts)


def even_split(case: Case, needed: Footprint) -> tuple[int, ...]:
    """The --tensor-split that evens out what flags leave on several devices; nothing where layers are not dealt out."""
    if not _deals_layers(case):
        return ()
    told, layer_bytes = told_bytes(case), weights_by_layer(case.stored)[0]
    held, layers = _held_as_asked(case)
    caches = kv_by_layer(case)
    gone = {layer: told.host.get(layer, 0) + sum(told.moved.get(layer, {}).values()) for layer in layers}
    kept = 0 if case.options.cache_on_host else 1
    sizes = [layer_bytes.get(layer, 0) - gone[layer] + kept * sum(caches[layer]) for layer in layers]
    output = weights_by_layer(case.stored)[3]
    first = held.weights_bytes - output - sum(layer_bytes.get(layer, 0) for layer in layers)
    host_layers = case.architecture.num_layers - len(layers)
    buffers = split_buffers(case, host_layers, host_experts=bool(told.host))
    rooms = _rooms(case, needed, 0, buffers.device_bytes if buffers else None) or [1] * len(case.devices)
    return tuple(even_counts(sizes, max(0, first), output, rooms))


def _deals_layers(case: Case) -> bool:
    """Whether several devices take whole layers, dealt out by their number."""
    return len(case.devices) > 1 and case.graph is not None and case.parallelism is Split.LAYER


def _layers_told(case: Case, layers: range, kept: Collection[int]) -> frozenset[int]:
    """Of the devices' layers those that keep nothing on the host; of a mixture that does, those with experts."""
    mixture = bool(kept) and bool(case.architecture.expert_layers)
    dense = {layer.index for layer in case.architecture.layers if layer.mlp is not MlpKind.MOE} if mixture else set()
    return frozenset(layers) - set(kept) - dense


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
    _, _, input_bytes, output_bytes = weights_by_layer(case.stored)
    stays = (input_bytes + output_bytes) // (case.ranks * case.stages)
    moved = [min(told, max(0, share.weights_bytes - stays)) for share in shares]
    left = [share._replace(weights_bytes=share.weights_bytes - size) for share, size in zip(shares, moved, strict=True)]
    return left, Share("host", sum(moved), 0, 0, 0, 0, 0, case.target.host_memory_bytes, 0)


def _experts_kept_on_host(case: Case, shares: Sequence[Share], kept: int) -> tuple[Sequence[Share], Share]:
    """The shares once all but `kept` experts of each layer lie on the host, in the bits that it computes them in."""
    experts = case.architecture.experts or 1
    away = max(0, experts - kept) / experts
    moved = round(sum(weights_by_layer(case.stored)[1].values()) * away)
    each = moved // len(shares)
    left = [share._replace(weights_bytes=share.weights_bytes - each) for share in shares]
    bits = case.options.host_expert_bits
    elements = sum(t.total_elements for t in case.architecture.tensors if t.active_experts is not None)
    host_bytes = moved if bits is None else round(elements * away) * bits // 8
    return left, Share("host", host_bytes, 0, 0, 0, 0, 0, case.target.host_memory_bytes, 0)


def _split_experts(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """Everything but experts on the devices, and the experts of as many layers as fit."""
    _, expert_bytes, input_bytes, _ = weights_by_layer(case.stored)
    buffers = split_buffers(case, 0, host_experts=True)
    rooms = _rooms(case, needed, margin_bytes, buffers.device_bytes if buffers else None)
    if rooms is None:
        return None
    tied_bytes = table_bytes(case) if case.architecture.tied_embeddings else 0
    always_bytes = needed.weights.size_bytes - input_bytes - sum(expert_bytes.values()) + tied_bytes
    left_bytes = sum(rooms) - always_bytes - needed.kv_cache.size_bytes
    if left_bytes < 0:
        return None
    device_weights, gpu_layers = always_bytes, 0
    for size_bytes in sorted(expert_bytes.values()):
        if size_bytes <= left_bytes:
            left_bytes -= size_bytes
            device_weights += size_bytes
            gpu_layers += 1
    if _deals_layers(case):
        return _dealt_experts(case, needed, margin_bytes, gpu_layers)
    cache = all_caches(case)
    held = Held(device_weights, cache.attention_bytes, gpu_layers, cache.state_bytes)
    return _split(case, needed, held, margin_bytes, host_experts=True)


def _dealt_experts(case: Case, needed: Footprint, margin_bytes: int, most: int) -> Placement | None:
    """The split that keeps experts of the most layers, no more than `most`, on several devices that take whole layers.

    Layers are dealt out evenly by what stays of them, unless flags say how (--tensor-split).
    """

    def split(count: int) -> Placement | None:
        flags = replace(case.options, cpu_moe_layers=case.architecture.num_layers - count)
        told = replace(case, options=flags)
        dealt = flags.tensor_split or even_split(told, needed)
        return split_as_told(replace(told, options=replace(flags, tensor_split=dealt)), needed)

    def fits(found: Placement | None) -> bool:
        shares = found.shares if found is not None and found.fits else ()
        spare = [(share.available_bytes or 0) - share.total_bytes for share in shares]
        return bool(spare) and min(spare) >= margin_bytes

    low, high = -1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(split(middle)) else (low, middle - 1)
    return split(low) if low >= 0 else None


def _rooms(case: Case, needed: Footprint, margin_bytes: int, compute_bytes: int | None) -> list[int] | None:
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
    known = case.architecture.hidden_size and case.architecture.layers
    if case.graph is None or not known:
        return None
    plan = case.plan
    buffers = graph_buffers(case, plan, split_part(case, plan, host_layers, host_experts=host_experts))
    return buffers._replace(device_bytes=buffers.device_bytes + sum(added_compute(case).values()))


def _split(
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
    rooms = _rooms(case, needed, margin_bytes, compute_bytes)
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
    if case.graph is None or case.on_cpu or not case.architecture.hidden_size or not case.architecture.layers:
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
