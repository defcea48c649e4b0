"""Splits a model that its devices cannot hold with the host: whole layers, or the experts of a mixture first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

from sizer.memory.beside import added_compute, added_weights, all_caches, draft_taken
from sizer.memory.case import Case, cache_plan
from sizer.memory.graph.decoder import Buffers
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
from sizer.memory.working import graph_buffers, part_of, split_part
from sizer.model.architecture import MlpKind
from sizer.precision.gguf_tensors import layer_tensor_name

EXPERT_STACKS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of experts in a GGUF file: llama.cpp common/common.h LLM_FFN_EXPS_REGEX."""


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
    low, high = 0, counted_layers(case)
    while low < high:
        middle = (low + high + 1) // 2
        fits = split_at(case, needed, middle, margin_bytes).fits
        low, high = (middle, high) if fits else (low, middle - 1)
    split = split_at(case, needed, low, margin_bytes)
    return split if split.fits else None


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
    told = _told_bytes(case)
    asked, every = layers_asked(case), counted_layers(case)
    held, layers = _held_at(case, every if asked is None else asked)
    own = case.architecture.num_layers  # layers behind them predict, and go as patterns find them
    kept = {layer: size for layer, size in told.items() if layer in layers or layer >= own}
    weights_bytes = held.weights_bytes - sum(kept.values())
    if asked is None or asked >= every:
        weights_bytes += weights_by_layer(case.stored)[2] - table_bytes(case)  # the input, but for a table of the host
    held = held._replace(weights_bytes=weights_bytes, layers=_layers_told(case, layers, kept))
    return _split(case, needed, held, 0, host_experts=bool(kept))


def _layers_told(case: Case, layers: range, kept: Collection[int]) -> int:
    """Of the devices' layers those that keep nothing on the host; of a mixture that does, those with experts."""
    mixture = bool(kept) and bool(case.architecture.expert_layers)
    dense = {layer.index for layer in case.architecture.layers if layer.mlp is not MlpKind.MOE} if mixture else set()
    return sum(layer not in kept and layer not in dense for layer in layers)


def weights_kept_on_host(case: Case, shares: Sequence[Share]) -> tuple[Sequence[Share], Share | None]:
    """The shares once a number of bytes of each device's layers stay on the host (`--cpu-offload-gb`), and the host's.

    Layers alone go: embeddings and the output stay (vLLM's make_layers wraps them, SGLang's offloader too). As they are
    and None where no flag says so.
    """
    told = case.options.weights_offload_bytes or 0
    if not told or case.on_cpu:
        return shares, None
    _, _, input_bytes, output_bytes = weights_by_layer(case.stored)
    stays = (input_bytes + output_bytes) // (case.ranks * case.stages)
    moved = [min(told, max(0, share.weights_bytes - stays)) for share in shares]
    left = [share._replace(weights_bytes=share.weights_bytes - size) for share, size in zip(shares, moved, strict=True)]
    return left, Share("host", sum(moved), 0, 0, 0, 0, 0, case.target.host_memory_bytes, 0)


def _told_bytes(case: Case) -> dict[int, int]:
    """Bytes that flags keep on the host, by layer."""
    patterns = [(re.compile(pattern), place.upper().startswith("CPU")) for pattern, place in _overrides(case)]
    sizes: dict[int, int] = defaultdict(int)
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if (tensor.checkpoint_only and not case.drafts_by_itself) or not tensor.layers:
            continue
        for layer in tensor.layers:
            name = layer_tensor_name(tensor, case.architecture, layer)
            if next((on_host for pattern, on_host in patterns if pattern.search(name)), False):
                sizes[layer] += entry.size_bytes // len(tensor.layers)
    return sizes


def _overrides(case: Case) -> list[tuple[str, str]]:
    """Patterns and places in the order in which they decide: those of -ot, then the shorthands for experts."""
    told = list(case.options.tensor_overrides)
    number = case.options.cpu_moe_layers
    if number is not None and number < 0:
        told.append((EXPERT_STACKS, "CPU"))
    elif number is not None:
        layers = range(min(number, case.architecture.num_layers))
        told += [(rf"blk\.{layer}{EXPERT_STACKS}", "CPU") for layer in layers]
    return told


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
    cache = all_caches(case)
    held = Held(device_weights, cache.attention_bytes, gpu_layers, cache.state_bytes)
    return _split(case, needed, held, margin_bytes, host_experts=True)


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
    plan = cache_plan(case)
    buffers = graph_buffers(case, plan, split_part(case, plan, host_layers, host_experts=host_experts))
    return buffers._replace(device_bytes=buffers.device_bytes + sum(added_compute(case).values()))


def _split(case: Case, needed: Footprint, held: Held, margin_bytes: int, *, host_experts: bool = False) -> Placement:
    """The placement that has `held` on the devices, by the room that each has, and the rest on the host."""
    host_layers = 0 if host_experts else case.architecture.num_layers - held.layers
    buffers = split_buffers(case, host_layers, host_experts=host_experts)
    compute_bytes = buffers.device_bytes if buffers else None
    rooms = _rooms(case, needed, margin_bytes, compute_bytes)
    parts = _portions(held, rooms or [1] * len(case.devices))
    shares = tuple(
        share_of(case, device, part, needed, compute_bytes) for device, part in zip(case.devices, parts, strict=True)
    )
    cache = all_caches(case)
    host = Share(
        place="host",
        weights_bytes=needed.weights.size_bytes - held.weights_bytes,
        kv_cache_bytes=cache.attention_bytes - held.kv_cache_bytes,
        state_bytes=cache.state_bytes - held.state_bytes,
        compute_bytes=buffers.host_bytes if buffers else 0,
        graphs_bytes=0,
        overhead_bytes=0,
        available_bytes=case.target.host_memory_bytes,
        layers=case.architecture.num_layers - held.layers,
    )
    held_bytes = held.weights_bytes + held.kv_cache_bytes + held.state_bytes
    device_short = max(0, held_bytes - sum(rooms or [0]))
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
        host_tables_bytes=host_tables_bytes(case),
    )


def host_compute_bytes(case: Case) -> int:
    """The buffer that an engine on ggml reserves in the host's memory beside a device: inputs and masks; else 0."""
    if case.graph is None or case.on_cpu or not case.architecture.hidden_size or not case.architecture.layers:
        return 0
    return graph_buffers(case, cache_plan(case), part_of(case)).host_bytes


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
