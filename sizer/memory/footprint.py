"""Memory that a run takes: weights, cache, activations, engine. Formulas and sources: docs/memory.md."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from sizer.cache_formats import cache_format
from sizer.engine.memory_rules import EngineMemory
from sizer.memory.activations import activation_values_per_token, rotary_table_bytes
from sizer.memory.kv_cache import mixer_cache_bytes, sequence_cache_bytes, while_reading
from sizer.memory.records import Footprint, Part, tree
from sizer.model.architecture import Architecture, Tower
from sizer.model.stored import Stored
from sizer.workload import Workload


def activations_part(
    architecture: Architecture, workload: Workload, engine: EngineMemory, device_count: int = 1, ranks: int = 1
) -> Part:
    """Working memory above weights and cache at the high-water mark, the same on each of `device_count` devices.

    While the prompt is read: the widest layer over the tokens of a chunk, or the logits, whichever is larger (the
    layer's buffers are freed before the logits are computed). Where the cache grows token by token it is not yet full
    then, so only what exceeds the full cache counts. While decoding: one token of each sequence. `ranks` devices share
    each layer's work.
    """
    prompt_tokens = workload.prompt_tokens * workload.batch_size
    chunk_tokens = min(prompt_tokens, engine.prefill_chunk_tokens or prompt_tokens)
    reading_bytes = device_count * _working_bytes(architecture, workload, engine, chunk_tokens, ranks)
    if engine.cache_grows:
        full_bytes = kv_cache_bytes(architecture, workload, engine)
        reading_bytes -= full_bytes - _prompt_cache_bytes(architecture, workload, engine)
    decoding_bytes = device_count * _working_bytes(architecture, workload, engine, workload.batch_size, ranks)
    on_each = {"working memory": -(-max(reading_bytes, decoding_bytes) // device_count)}
    on_each["workspaces"] = engine.workspace_bytes
    if engine.rotary_tables:
        table_bytes = rotary_table_bytes(architecture, engine.activation_bytes_per_value)
        on_each["rotary tables"] = -(-table_bytes // device_count)
    return tree("activations", (Part(name, device_count * size) for name, size in on_each.items() if size))


def _working_bytes(
    architecture: Architecture, workload: Workload, engine: EngineMemory, tokens: int, ranks: int
) -> int:
    """Bytes alive while `tokens` tokens go through one step: the widest layer, or the logits and the residual."""
    values = activation_values_per_token(architecture, engine.layer_code, ranks)
    layer_bytes = tokens * values * engine.activation_bytes_per_value
    by_rule = {"last": workload.batch_size, "chunk": tokens, "prompt": tokens}
    rows = by_rule[engine.logits_rows] if engine.logits_rows in by_rule else int(engine.logits_rows)
    logits_bytes = rows * architecture.vocab_size * engine.logits_bytes_per_value
    return max(layer_bytes, logits_bytes + tokens * architecture.hidden_size * engine.activation_bytes_per_value)


def _prompt_cache_bytes(architecture: Architecture, workload: Workload, engine: EngineMemory) -> int:
    """Bytes of a growing cache once the prompt is read: one copy, layers with a window still holding the last chunk."""
    kv_format = cache_format(workload.kv_precision)
    prompt_tokens = min(workload.prompt_tokens, workload.context_tokens)
    context_tokens = whole_blocks(prompt_tokens, engine)
    chunk_tokens = min(prompt_tokens, engine.prefill_chunk_tokens or prompt_tokens)
    return workload.batch_size * sum(
        count
        * mixer_cache_bytes(while_reading(mixer, chunk_tokens), context_tokens, kv_format, engine.state_bytes_per_value)
        for mixer, count in architecture.mixer_counts.items()
    )


def whole_blocks(context_tokens: int, engine: EngineMemory) -> int:
    """A context rounded up to the engine's cache blocks."""
    return -(-context_tokens // engine.kv_block_tokens) * engine.kv_block_tokens


def kv_cache_bytes(architecture: Architecture, workload: Workload, engine: EngineMemory) -> int:
    """Bytes of the cache of all sequences at the workload's context."""
    kv_format = cache_format(workload.kv_precision)
    context_tokens = whole_blocks(workload.context_tokens, engine)
    one = sequence_cache_bytes(architecture, context_tokens, kv_format, engine.state_bytes_per_value)
    return one * workload.batch_size * engine.cache_copies


def kv_cache_part(architecture: Architecture, workload: Workload, engine: EngineMemory) -> Part:
    """Cache of all sequences at the workload's context, by kind of mixer."""
    kv_format = cache_format(workload.kv_precision)
    context_tokens = whole_blocks(workload.context_tokens, engine)
    by_kind: dict[str, int] = defaultdict(int)
    for mixer, count in architecture.mixer_counts.items():
        size_bytes = mixer_cache_bytes(mixer, context_tokens, kv_format, engine.state_bytes_per_value)
        by_kind[mixer.kind.value] += count * size_bytes * workload.batch_size * engine.cache_copies
    return tree("kv_cache", (Part(kind, size_bytes) for kind, size_bytes in by_kind.items()))


@lru_cache(maxsize=256)
def weights_part(stored: Stored) -> Part:
    """Weights by role, towers apart."""
    by_role: dict[str, int] = defaultdict(int)
    for entry in stored.tensors:
        tensor = entry.tensor
        if not tensor.checkpoint_only:
            by_role[tensor.role.value if tensor.tower is Tower.TEXT else tensor.tower.value] += entry.size_bytes
    return tree("weights", (Part(role, size_bytes) for role, size_bytes in by_role.items()))


def overhead_part(engine: EngineMemory, on_cpu: bool, device_count: int) -> Part:
    """What the engine takes besides: the driver's context on each device, or the runtime's own memory on a CPU."""
    if on_cpu:
        return tree("overhead", (Part("host runtime", engine.host_runtime_bytes),))
    return tree("overhead", (Part("device context", engine.context_overhead_bytes * device_count),))


def footprint(
    architecture: Architecture,
    stored: Stored,
    workload: Workload,
    engine: EngineMemory,
    *,
    on_cpu: bool = False,
    device_count: int = 1,
    ranks: int = 1,
) -> Footprint:
    """The tree of what one run takes, all devices together, in bytes; `ranks` of them share each layer's work."""
    return Footprint(
        weights=weights_part(stored),
        kv_cache=kv_cache_part(architecture, workload, engine),
        activations=activations_part(architecture, workload, engine, device_count, ranks),
        overhead=overhead_part(engine, on_cpu, device_count),
        kv_known=bool(architecture.layers),
    )
