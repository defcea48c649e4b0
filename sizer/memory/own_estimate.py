"""What the engine itself expects a model to take, and by which it decides how many layers go to the devices.

Read in Ollama's llm/memory.go (to 0.12.10) and llm/server.go (to 0.24); its words are "memory required" and "layers
offload". Sizes of tensors are those of the file, the cache is in 16 bits unless flash attention lets it be quantized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sizer.device.usable import free_memory_bytes
from sizer.engine.estimate_rules import EstimateRule, estimate_rule
from sizer.frozen import NamedTuple
from sizer.memory.cache import cache_by_layer
from sizer.memory.case import Case, expands_latent
from sizer.memory.offload import layers_asked
from sizer.memory.projector import projector_bytes
from sizer.memory.shares import head_table_bytes, weights_by_layer
from sizer.memory.working import largest_expert_bytes
from sizer.model.architecture import Architecture, Mixer
from sizer.precision.gguf_windows import gguf_arch
from sizer.units import MIB

LEAST_BYTES = {"nvidia": 457 * MIB, "amd": 457 * MIB, "apple": 512 * MIB}
"""What a device of a maker keeps for itself: discover/gpu.go, gpu_darwin.go (MinimumMemory)."""
USUAL_BATCH = 512
"""Ollama's num_batch: api/types.go DefaultOptions."""
QUANTIZED_WIDTH = {"q8_0": 1.0, "q4_0": 0.5}
"""Bytes a cached value is counted as; 2 of every other format (kvCacheBytesPerElement)."""


class OwnEstimate(NamedTuple):
    """The engine's figures: everything, the graph, the cache, and layers on the devices (the output counts as one)."""

    total_bytes: int
    graph_bytes: int
    kv_bytes: int
    gpu_layers: int


class _Device(NamedTuple):
    free_bytes: int
    least_bytes: int


def own_estimate(case: Case) -> OwnEstimate | None:
    """The engine's own estimate; None where it measures instead, or where a device's memory is not known."""
    rule = _rule(case)
    devices = _devices(case)
    if rule is None or devices is None:
        return None
    cache_sizes = _cache_by_layer(case, rule)
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    blocks = [layer_bytes.get(index, 0) + size for index, size in enumerate(cache_sizes)]
    output_bytes += head_table_bytes(case)
    sizes = _sizes(case, sum(cache_sizes))
    full, partial = rule.bytes_of(rule.full, sizes), rule.bytes_of(rule.partial, sizes)
    if case.target.device.vendor == "apple":
        partial = full  # Metal needs nothing more for a part of the layers
    elif len(devices) > 1 and rule.counted != "layout":
        full = partial
    projector = _projector(case, rule, sizes)
    beside = projector if rule.projector == "first" else 0
    output_bytes += projector if rule.projector == "last" else 0
    rooms = [device.free_bytes - device.least_bytes - blocks[0] - max(full, partial) for device in devices]
    rooms[0] -= beside
    asked = layers_asked(case)
    on_devices = _laid(blocks, output_bytes, rooms, rule.counted)
    if asked is not None and asked >= 0:
        on_devices = min(asked, len(blocks) + 1)
    graph = full if on_devices == len(blocks) + 1 else partial
    total = sum(blocks) + output_bytes + graph + beside
    if rule.counted == "from first" and on_devices < len(blocks):
        # What does not fit is counted by the last layer, which in mixed files is a larger one.
        total += (len(blocks) - on_devices) * blocks[-1] - sum(blocks[on_devices:])
    if rule.counted != "layout":
        total += sum(device.least_bytes + blocks[0] for device in devices)
    return OwnEstimate(total, graph, sum(cache_sizes), 0 if case.on_cpu else on_devices)


def _projector(case: Case, rule: EstimateRule, sizes: Mapping[str, int]) -> int:
    """What the rule counts for a projector: its file, and a graph for the towers of some."""
    held = projector_bytes(case) if rule.projector else 0
    return held + (rule.bytes_of(rule.images, sizes) if held and rule.images else 0)


def layers_by_own_estimate(case: Case) -> int | None:
    """How many layers the engine sends to the devices by its own estimate; None where all, or where it measures."""
    found = own_estimate(case)
    every = case.architecture.num_layers + 1
    return None if found is None or case.on_cpu or found.gpu_layers >= every else found.gpu_layers


def _rule(case: Case) -> EstimateRule | None:
    if not case.shape_known:
        return None
    arch, experts = gguf_arch(case.architecture), bool(case.architecture.experts)
    return estimate_rule(case.engine.engine, arch, experts, case.options.version, case.engine_date)


def _devices(case: Case) -> list[_Device] | None:
    """Free memory and the least that each keeps; the system's memory alone for a CPU."""
    free = [free_memory_bytes(case.target, device) for device in case.devices]
    if any(size is None for size in free):
        return None
    least = [0 if case.on_cpu else LEAST_BYTES.get(device.vendor, 0) for device in case.devices]
    return [_Device(size or 0, kept) for size, kept in zip(free, least, strict=True)]


def _laid(blocks: Sequence[int], output_bytes: int, free: Sequence[int], how: str) -> int:
    """Layers on the devices: as many as stay under what is free once graph, least and a spare layer are taken."""
    if how == "layout":
        if _fitting([*blocks, output_bytes][::-1], free) == len(blocks) + 1:
            return len(blocks) + 1
        return _fitting(blocks[::-1], free)
    rooms = [room for room in free if room >= blocks[0]]
    order = list(range(len(blocks))) if how == "from first" else list(range(len(blocks)))[::-1]
    taken = 0
    for index in order:
        while rooms and rooms[index % len(rooms)] <= blocks[index]:
            rooms.pop(index % len(rooms))
        if not rooms:
            return taken
        rooms[index % len(rooms)] -= blocks[index]
        taken += 1
    return taken + 1 if any(room > output_bytes for room in rooms) else taken


def _fitting(sizes: Sequence[int], rooms: Sequence[int]) -> int:
    """How many of the sizes, in their order, the rooms hold one after another."""
    left, count = list(rooms), 0
    for size in sizes:
        while left and size > left[-1]:
            left.pop()
        if not left:
            return count
        left[-1] -= size
        count += 1
    return count


def _cache_by_layer(case: Case, rule: EstimateRule) -> list[int]:
    """Bytes of cache that each layer is counted with: all cells, or a window's, in the format's rounded width."""
    plan = case.plan
    cells, found = plan.tokens * plan.streams, []
    for layer, kept in zip(case.architecture.layers, cache_by_layer(case.architecture, plan), strict=True):
        mixer = next((one for one in layer.mixers if one.kv_heads), None)
        if mixer is None:
            found.append(kept.state_bytes)
            continue
        held = cells
        if rule.windows != "whole" and mixer.window_tokens:
            window = mixer.window_tokens if rule.windows == "window" else int(rule.windows)
            held = plan.sequences * window + _batch(case, cells)
        heads, key, value = _cached_heads(case, mixer)
        found.append(int(held * heads * (key + value) * _width(case)))
    return found


def _cached_heads(case: Case, mixer: Mixer) -> tuple[int, int, int]:
    """KV heads and the widths of their keys and values, as the file's header tells them."""
    if mixer.latent_elements and not expands_latent(case):
        return 1, mixer.latent_elements, mixer.v_head_dim
    return (mixer.heads if mixer.latent_elements else mixer.kv_heads), mixer.qk_head_dim, mixer.v_head_dim


def _width(case: Case) -> float:
    return QUANTIZED_WIDTH.get(case.options.k_cache_type, 2.0) if case.flash_attention else 2.0


def _batch(case: Case, cells: int) -> int:
    return min(case.options.prefill_chunk_tokens or case.options.batch_tokens or USUAL_BATCH, cells)


def _sizes(case: Case, kv_bytes: int) -> dict[str, int]:
    """What the letters of a rule stand for."""
    model, plan = case.architecture, case.plan
    mixers = [mixer for mixer in model.mixer_counts if mixer.kv_heads]
    heads = max((mixer.heads for mixer in mixers), default=1)
    cached = [_cached_heads(case, mixer) for mixer in mixers] or [(1, 0, 0)]
    hidden, cells = model.hidden_size, plan.tokens * plan.streams
    kv_heads, least_kv_heads = max(one[0] for one in cached), min(one[0] for one in cached)
    key = max(one[1] for one in cached)
    config = model.config.get("text_config") if isinstance(model.config.get("text_config"), dict) else model.config
    wide = (config or {}).get("intermediate_size")
    return _image_sizes(model) | {
        "B": _batch(case, cells),
        "C": cells,
        "E": hidden,
        "F": wide if isinstance(wide, int) else 4 * hidden,
        "V": model.vocab_size,
        "H": heads,
        "K": kv_heads,
        "G": heads // max(1, least_kv_heads),
        "W": key,
        "D": hidden // heads,
        "M": max(cells, hidden),
        "S": heads * key + 2 * kv_heads * key,
        "X": largest_expert_bytes(case),
        "T": kv_bytes,
        "P": plan.sequences,
        "U": MIB,
    }


def _image_sizes(model: Architecture) -> dict[str, int]:
    """What the letters of an image stand for, by the config of the vision tower; all 0 where it has none."""
    told = model.config.get("vision_config")
    vision = told if isinstance(told, Mapping) else {}

    def size(*names: str) -> int:
        return next((vision[name] for name in names if isinstance(vision.get(name), int)), 0)

    side, patch = size("image_size"), size("patch_size")
    return {
        "I": 3 * side**2,
        "Q": (side // patch) ** 2 if patch else 0,
        "Y": size("hidden_size"),
        "R": size("num_attention_heads", "num_heads"),
        "Z": patch,
    }
