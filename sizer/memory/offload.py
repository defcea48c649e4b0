"""Splits a model that its devices cannot hold with the host: whole layers, or the experts of a mixture first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sizer.memory.beside import added_weights, all_caches, draft_taken
from sizer.memory.bisection import last_that_holds
from sizer.memory.case import Case
from sizer.memory.host_split import host_split, rooms_of, split_buffers
from sizer.memory.layer_split import even_counts, parts_by_layer
from sizer.memory.records import Footprint, Placement
from sizer.memory.shares import Held, kv_by_layer, table_bytes, tied_table_bytes, weights_by_layer
from sizer.memory.tensor_places import told_bytes
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
    room_bytes = sum(rooms_of(case, needed, margin_bytes, buffers.device_bytes if buffers else None) or [0])

    def holds(layers: int) -> bool:
        held, _ = _held_at(case, layers)
        return held.weights_bytes + held.kv_cache_bytes + held.state_bytes <= room_bytes

    return last_that_holds(holds, counted_layers(case), half)


def counted_layers(case: Case) -> int:
    """What a number of layers on the devices counts at most: engines on ggml count the output layer as one."""
    return case.architecture.num_layers + (1 if case.graph is not None else 0)


def _split_unknown(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """The split of a model known by its name alone, whose layers nobody knows: as much on the devices as they hold."""
    room_bytes = min(sum(rooms_of(case, needed, margin_bytes, None) or [0]), needed.weights.size_bytes)
    split = host_split(case, needed, Held(room_bytes, 0, 0), margin_bytes)
    return split if split.fits else None


def split_at(case: Case, needed: Footprint, gpu_layers: int, margin_bytes: int = 0) -> Placement:
    """The last `gpu_layers` layers on the devices, the rest on the host; the output goes with them.

    Engines on ggml count the output layer and send it first (llama-model.cpp: i_gpu_start = n_layer + 1 - ngl); with
    the others it goes last, when all layers do. It fits where each device keeps `margin_bytes` free besides.
    """
    held, _ = _held_at(case, gpu_layers)
    return host_split(case, needed, held, margin_bytes)


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
        weights += output_bytes + tied_table_bytes(case)
    caches = [] if case.options.caches_on_host else [kv_sizes[index] for index in held_layers]
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
    if options.cpu_moe_layers is None and not options.tensor_overrides and not options.caches_on_host:
        return None
    told = told_bytes(case)
    held, layers = _held_as_asked(case)
    own = case.architecture.num_layers  # layers behind them predict, and go as patterns find them
    kept = {layer: size for layer, size in told.host.items() if layer in layers or layer >= own}
    weights_bytes = held.weights_bytes - sum(kept.values())
    asked = layers_asked(case)
    if asked is None or asked >= counted_layers(case):
        input_bytes = weights_by_layer(case.stored).input_bytes
        weights_bytes += input_bytes - table_bytes(case)  # the host keeps its table
    counted = _layers_told(case, layers, kept)
    held = held._replace(weights_bytes=weights_bytes, layers=len(counted))
    parts = parts_by_layer(case, held, layers, told, counted) if _deals_layers(case) else None
    return host_split(case, needed, held, 0, host_experts=bool(kept), parts=parts)


def even_split(case: Case, needed: Footprint) -> tuple[int, ...]:
    """The --tensor-split that evens out what flags leave on several devices; nothing where layers are not dealt out."""
    if not _deals_layers(case):
        return ()
    told = told_bytes(case)
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    held, layers = _held_as_asked(case)
    caches = kv_by_layer(case)
    gone = {layer: told.host.get(layer, 0) + sum(told.moved.get(layer, {}).values()) for layer in layers}
    kept = 0 if case.options.caches_on_host else 1
    sizes = [layer_bytes.get(layer, 0) - gone[layer] + kept * sum(caches[layer]) for layer in layers]
    first = held.weights_bytes - output_bytes - sum(layer_bytes.get(layer, 0) for layer in layers)
    host_layers = case.architecture.num_layers - len(layers)
    buffers = split_buffers(case, host_layers, host_experts=bool(told.host))
    rooms = rooms_of(case, needed, 0, buffers.device_bytes if buffers else None) or [1] * len(case.devices)
    return tuple(even_counts(sizes, max(0, first), output_bytes, rooms))


def _deals_layers(case: Case) -> bool:
    """Whether several devices take whole layers, dealt out by their number."""
    return len(case.devices) > 1 and case.graph is not None and case.parallelism is Split.LAYER


def _layers_told(case: Case, layers: range, kept: Collection[int]) -> frozenset[int]:
    """Of the devices' layers those that keep nothing on the host; of a mixture that does, those with experts."""
    mixture = bool(kept) and bool(case.architecture.expert_layers)
    dense = {layer.index for layer in case.architecture.layers if layer.mlp is not MlpKind.MOE} if mixture else set()
    return frozenset(layers) - set(kept) - dense


def _split_experts(case: Case, needed: Footprint, margin_bytes: int) -> Placement | None:
    """Everything but experts on the devices, and the experts of as many layers as fit."""
    _, expert_bytes, input_bytes, _ = weights_by_layer(case.stored)
    buffers = split_buffers(case, 0, host_experts=True)
    rooms = rooms_of(case, needed, margin_bytes, buffers.device_bytes if buffers else None)
    if rooms is None:
        return None
    always_bytes = needed.weights.size_bytes - input_bytes - sum(expert_bytes.values()) + tied_table_bytes(case)
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
    return host_split(case, needed, held, margin_bytes, host_experts=True)


def _dealt_experts(case: Case, needed: Footprint, margin_bytes: int, most: int) -> Placement | None:
    """The split that keeps experts of the most layers, no more than `most`, on several devices that take whole layers.

    Layers are dealt out evenly by what stays of them, unless flags say how (--tensor-split).
    """

    def split(count: int) -> Placement | None:
        flags = replace(case.options, cpu_moe_layers=case.architecture.num_layers - count)
        told = replace(case, options=flags)
        dealt = flags.tensor_split or even_split(told, needed)
        return split_as_told(replace(told, options=replace(flags, tensor_split=dealt)), needed)

    def fits(count: int) -> bool:
        found = split(count)
        shares = found.shares if found is not None and found.fits else ()
        spare = [(share.available_bytes or 0) - share.total_bytes for share in shares]
        return bool(spare) and min(spare) >= margin_bytes

    kept = last_that_holds(fits, most, least=-1)
    return split(kept) if kept >= 0 else None
