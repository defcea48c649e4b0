"""What each place of a target can hold, and what the layers of a model weigh: what placements are made of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sizer.cache_formats import cache_format
from sizer.device.records import Device, Target, is_cpu
from sizer.device.usable import free_memory_bytes
from sizer.engine.memory_rules import EngineMemory
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.memory.footprint import whole_blocks
from sizer.memory.kv_cache import layer_cache_bytes
from sizer.memory.records import Footprint, Share
from sizer.model.architecture import Architecture, Mixer, Module, Role, Tower
from sizer.model.stored import Stored
from sizer.workload import Split, Workload


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that placement looks at, in one record; `options` are what the engine's own flags said."""

    architecture: Architecture
    stored: Stored
    workload: Workload
    target: Target
    engine: EngineMemory
    parallelism: Split
    can_offload: bool
    experts_first: bool
    options: EngineOptions = NO_OPTIONS

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices of the target, equal ones repeated, unlike ones after them."""
        return (self.target.device,) * self.target.count + self.target.others

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on a CPU, out of the system's memory."""
        return is_cpu(self.target.device)


class Held(NamedTuple):
    """Weights, cache and layers that one place holds."""

    weights_bytes: int
    kv_cache_bytes: int
    layers: int


def usable_bytes(target: Target, device: Device, engine: EngineMemory) -> int | None:
    """What a model may take of one device, less what an engine that allocates ahead leaves free."""
    memory_bytes = free_memory_bytes(target, device)
    if memory_bytes is not None and engine.allocates == "fraction_of_device" and engine.device_fraction:
        return int(memory_bytes * engine.device_fraction)
    return memory_bytes


def host_tables_bytes(case: Case) -> int:
    """Bytes of the input embedding where the engine keeps it in the host's memory: a tied one is on the device too."""
    if not case.engine.embedding_on_host or case.target.device.kind != "gpu" or case.architecture.tied_embeddings:
        return 0
    return sum(entry.size_bytes for entry in case.stored.tensors if entry.tensor.role is Role.EMBEDDING)


@lru_cache(maxsize=64)
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
    context_tokens = whole_blocks(case.workload.context_tokens, case.engine)
    by_mixers: dict[tuple[Mixer, ...], int] = {}
    sizes = []
    for layer in case.architecture.layers:
        if layer.mixers not in by_mixers:
            one = layer_cache_bytes(layer, context_tokens, kv_format, case.engine.state_bytes_per_value)
            by_mixers[layer.mixers] = one * case.workload.batch_size * case.engine.cache_copies
        sizes.append(by_mixers[layer.mixers])
    return sizes


def share_of(case: Case, device: Device, held: Held, needed: Footprint) -> Share:
    """What a device holds: its weights and cache, and the activations and overhead that every device needs."""
    return Share(
        place=device.key,
        weights_bytes=held.weights_bytes,
        kv_cache_bytes=held.kv_cache_bytes,
        activations_bytes=needed.activations.size_bytes // len(case.devices),
        overhead_bytes=needed.overhead.size_bytes // len(case.devices),
        available_bytes=usable_bytes(case.target, device, case.engine),
        layers=held.layers,
    )
