"""What each place of a target can hold, and what the layers of a model weigh: what placements are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from sizer.device.records import Device
from sizer.device.usable import free_memory_bytes
from sizer.frozen import NamedTuple
from sizer.memory.cache import LayerCache, cache_by_layer
from sizer.memory.case import Case
from sizer.memory.records import Footprint, Share
from sizer.memory.working import graphs_bytes, profile_bytes
from sizer.model.architecture import Module, Role, Tower
from sizer.model.stored import Stored


class Held(NamedTuple):
    """Weights, cache, recurrent states and layers that one place holds."""

    weights_bytes: int
    kv_cache_bytes: int
    layers: int
    state_bytes: int = 0


def usable_bytes(case: Case, device: Device) -> int | None:
    """What a model may take of one device, less what an engine that allocates ahead leaves free."""
    memory_bytes = free_memory_bytes(case.target, device)
    limit = dict(case.options.device_memory_limits).get(str(case.devices.index(device)))
    if memory_bytes is not None and limit is not None:
        memory_bytes = min(memory_bytes, limit)  # transformers' max_memory
    fraction = device_fraction(case)
    if memory_bytes is None or case.engine.allocates != "fraction_of_device" or not fraction:
        return memory_bytes
    taken = int(memory_bytes * fraction)
    if case.engine.profile != "static":
        return taken
    # Its working memory lies in what the fraction leaves free.
    return taken + min(memory_bytes - taken, profile_bytes(case) + graphs_bytes(case))


def device_fraction(case: Case) -> float | None:
    """The fraction that the engine allocates ahead: as the flags say, else its default, by card where a rule tells."""
    by_card = None
    if not case.options.memory_fraction and case.engine.profile == "static":
        from sizer.memory.reserves import fraction_by_card

        by_card = fraction_by_card(case)
    return case.options.memory_fraction or by_card or case.engine.device_fraction


def table_bytes(case: Case) -> int:
    """Bytes of the input embedding where the engine keeps one in the host's memory beside a GPU, else 0."""
    if not case.engine.embedding_on_host or case.target.device.kind != "gpu":
        return 0
    return sum(entry.size_bytes for entry in case.stored.tensors if entry.tensor.role is Role.EMBEDDING)


def host_tables_bytes(case: Case) -> int:
    """Of `table_bytes`, what the device is spared: a tied table is there too."""
    return table_bytes(case) - tied_table_bytes(case)


def tied_table_bytes(case: Case) -> int:
    """Of `table_bytes`, the table that the head shares."""
    return head_table_bytes(case) if table_bytes(case) else 0


def head_table_bytes(case: Case) -> int:
    """The table that stands for a tied head, else 0: that of Gemma's layers, as wide as all of them, is no head's.

    llama.cpp's per_layer_token_embd is an input's tensor as token_embd is (llama-arch.cpp, read).
    """
    if not case.architecture.tied_embeddings:
        return 0
    tables = (entry for entry in case.stored.tensors if entry.tensor.role is Role.EMBEDDING)
    return sum(entry.size_bytes for entry in tables if case.architecture.hidden_size in entry.tensor.shape)


class LayerWeights(NamedTuple):
    """Bytes of the weights by layer (all, and experts alone), of the input side (embeddings, towers) and of the output
    side (head, last norm)."""

    layer_bytes: Mapping[int, int]
    expert_bytes: Mapping[int, int]
    input_bytes: int
    output_bytes: int


@lru_cache(maxsize=64)
def weights_by_layer(stored: Stored) -> LayerWeights:
    """Where the bytes of a stored model lie, without what only checkpoints carry.

    A table that one layer looks up (Qwen3.8-Flash-Next's n-grams) is an input's tensor too: engines keep it where the
    token table is.
    """
    layer_bytes: dict[int, int] = defaultdict(int)
    expert_bytes: dict[int, int] = defaultdict(int)
    input_bytes = output_bytes = 0
    for entry in stored.tensors:
        tensor = entry.tensor
        if tensor.checkpoint_only:
            continue
        if tensor.tower is not Tower.TEXT or not tensor.layers or tensor.role is Role.EMBEDDING:
            is_output = tensor.role in {Role.LM_HEAD, Role.NORM} and tensor.tower is Tower.TEXT
            output_bytes += entry.size_bytes if is_output else 0
            input_bytes += 0 if is_output else entry.size_bytes
            continue
        each = entry.size_bytes // len(tensor.layers)
        for layer in tensor.layers:
            layer_bytes[layer] += each
            if tensor.module is Module.EXPERT_STACK:
                expert_bytes[layer] += each
    return LayerWeights(layer_bytes, expert_bytes, input_bytes, output_bytes)


def kv_by_layer(case: Case) -> list[LayerCache]:
    """What each layer keeps at the workload's context, all sequences together."""
    return cache_by_layer(case.architecture, case.plan)


def share_of(case: Case, device: Device, held: Held, needed: Footprint, compute_bytes: int | None = None) -> Share:
    """What a device holds: its weights and cache, and the working memory and overhead that every device needs.

    `compute_bytes` is its own working memory where devices differ.
    """
    count = len(case.devices)
    graphs = needed.overhead.part("graphs") // count
    return Share(
        place=device.key,
        weights_bytes=held.weights_bytes,
        kv_cache_bytes=held.kv_cache_bytes,
        state_bytes=held.state_bytes,
        compute_bytes=needed.activations.size_bytes // count if compute_bytes is None else compute_bytes,
        graphs_bytes=graphs,
        overhead_bytes=needed.overhead.size_bytes // count - graphs,
        available_bytes=usable_bytes(case, device),
        layers=held.layers,
    )
