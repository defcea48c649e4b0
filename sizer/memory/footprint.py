"""Memory that a run takes: weights, cache, activations, engine. Formulas and sources: docs/memory.md."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from sizer.cache_formats import cache_format
from sizer.memory.activations import activation_values_per_token, rotary_table_bytes
from sizer.memory.beside import added_compute, added_weights, all_caches, draft_taken
from sizer.memory.cache import cache_by_kind, layer_kinds, whole_cache
from sizer.memory.case import Case, blocks
from sizer.memory.records import Footprint, Part, tree
from sizer.memory.shard import rank_architecture
from sizer.memory.working import (
    context_bytes,
    graphs_bytes,
    padded_bytes,
    profile_bytes,
    rotary_bytes,
    scores_bytes,
    whole_buffer_bytes,
)
from sizer.model.architecture import Tower
from sizer.model.stored import Stored

PACKED = 32
"""Values of a row long enough for whole blocks of every format."""
FAST_LINK_BYTES_PER_S = 1e11
"""Links of at least this rate in one direction are NVLink's kind: PCIe 5 has 63 GB/s."""


def activations_part(case: Case) -> Part:
    """Working memory above weights and cache at the high-water mark, all devices together.

    An engine on ggml reserves a graph for a whole micro-batch, vLLM what its profile run takes, both whatever the
    prompt; the others take what the workload's widest step does.
    """
    count = len(case.devices)
    if case.reserves_graph:
        parts = {"compute buffer": whole_buffer_bytes(case) * count, **added_compute(case)}
        return tree("activations", (Part(name, amount) for name, amount in parts.items() if amount))
    if case.engine.profile and case.shape_known and not case.on_cpu:
        return tree("activations", (Part("profile run", profile_bytes(case) * count),))
    return _step_part(case)


def _step_part(case: Case) -> Part:
    """The workload's widest step, the same on each device.

    While the prompt is read: the widest layer over the tokens of a chunk, or the logits, whichever is larger (the
    layer's buffers are freed before the logits are computed). Where the cache grows token by token it is not yet full
    then, so only what exceeds the full cache counts. While decoding: one token of each sequence.
    """
    architecture, workload, engine, count = case.architecture, case.workload, case.engine, len(case.devices)
    prompt_tokens = workload.prompt_tokens * workload.batch_size
    chunk_tokens = min(prompt_tokens, engine.prefill_chunk_tokens or prompt_tokens)
    reading_bytes = count * _working_bytes(case, chunk_tokens)
    if engine.cache_grows:
        reading_bytes -= sum(whole_cache(case.cached, case.plan)) - _prompt_cache_bytes(case)
    decoding_bytes = count * _working_bytes(case, workload.batch_size)
    on_each = {"working memory": -(-max(reading_bytes, decoding_bytes) // count)}
    on_each["workspaces"] = engine.workspace_bytes
    on_each["dequantized layer"] = _dequantized_layer_bytes(case)
    if engine.rotary_tables:
        table_bytes = rotary_table_bytes(architecture, engine.activation_bytes_per_value)
        on_each["rotary tables"] = -(-table_bytes // count)
    return tree("activations", (Part(name, count * size) for name, size in on_each.items() if size))


def _dequantized_layer_bytes(case: Case) -> int:
    """The largest layer's keys and values in 16 bits, where a quantized cache is dequantized by layer; else 0."""
    plan = case.plan
    stored = min(plan.k_format.row_bytes(PACKED), plan.v_format.row_bytes(PACKED))
    if not case.engine.dequantizes_layer or stored >= 2 * PACKED:
        return 0
    plain = plan._replace(k_format=cache_format("fp16"), v_format=cache_format("fp16"))
    caches = cache_by_kind(rank_architecture(case.architecture, case.ranks), plain)
    return max((cache.attention_bytes for cache in caches), default=0)


def _working_bytes(case: Case, tokens: int) -> int:
    """Bytes alive while `tokens` tokens go through one step: the widest layer, or the logits and the residual."""
    architecture, engine = case.architecture, case.engine
    values = activation_values_per_token(architecture, engine.layer_code, case.ranks)
    layer_bytes = tokens * values * engine.activation_bytes_per_value + scores_bytes(case, tokens)
    by_rule = {"last": case.workload.batch_size, "chunk": tokens, "prompt": tokens}
    rows = by_rule[engine.logits_rows] if engine.logits_rows in by_rule else int(engine.logits_rows)
    logits_bytes = rows * architecture.vocab_size * engine.logits_bytes_per_value
    return max(layer_bytes, logits_bytes + tokens * architecture.hidden_size * engine.activation_bytes_per_value)


def _prompt_cache_bytes(case: Case) -> int:
    """Bytes of a growing cache once the prompt is read: one copy, layers with a window still holding the last chunk."""
    work = case.workload
    prompt_tokens = min(work.prompt_tokens, work.context_tokens)
    chunk_tokens = min(prompt_tokens, case.engine.prefill_chunk_tokens or prompt_tokens)
    plan = case.plan._replace(
        tokens=blocks(prompt_tokens, case.engine.kv_block_tokens), copies=1, held_beside_window=chunk_tokens
    )
    return sum(whole_cache(case.architecture, plan))


def kv_cache_bytes(case: Case) -> int:
    """Bytes of cache and states of all sequences at the workload's context."""
    return sum(all_caches(case))


def kv_cache_part(case: Case) -> Part:
    """Cache and states of all sequences at the workload's context, by kind of mixer."""
    kinds = layer_kinds(case.cached)
    held = cache_by_kind(case.cached, case.plan)
    by_kind: dict[str, int] = defaultdict(int)
    for layer, count, cache in zip(kinds.layers, kinds.counts, held, strict=True):
        by_kind["+".join(sorted({mixer.kind.value for mixer in layer.mixers}))] += sum(cache) * count
    if draft_bytes := sum(draft_taken(case).cache):
        by_kind["draft model"] = draft_bytes
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


def _weights(case: Case) -> Part:
    """The weights with what kernels pad them by and what flags add."""
    added = {"padding of experts": padded_bytes(case), **added_weights(case)}
    stored = weights_part(case.stored)
    more = tuple(Part(name, size) for name, size in added.items() if size)
    return tree("weights", (*stored.parts, *more)) if more else stored


def overhead_part(case: Case) -> Part:
    """What the engine takes besides: the driver's context, graphs and padding on each device, or its own memory."""
    count = len(case.devices)
    if case.on_cpu:
        return tree("overhead", (Part("host runtime", case.engine.host_runtime_bytes),))
    context = context_bytes(case) + (_ranks_bytes(case) if _communicates(case) else 0)
    on_each = {"device context": context, "graphs": graphs_bytes(case)}
    if case.engine.profile:
        on_each["rotary tables"] = rotary_bytes(case)
    return tree("overhead", (Part(name, size * count) for name, size in on_each.items() if size))


def _communicates(case: Case) -> bool:
    """Whether devices share layers, or replicas of the attention their experts."""
    return case.ranks > 1 or (case.replicas > 1 and bool(case.architecture.experts))


def _ranks_bytes(case: Case) -> int:
    """What the communicators of several ranks take of each: more channels, so more buffers, over fast links."""
    linked = (case.target.link_bytes_per_s or 0) >= FAST_LINK_BYTES_PER_S
    return case.engine.linked_rank_overhead_bytes if linked else case.engine.rank_overhead_bytes


def footprint(case: Case) -> Footprint:
    """The tree of what one run takes, all devices together, in bytes."""
    return Footprint(
        weights=_weights(case),
        kv_cache=kv_cache_part(case),
        activations=activations_part(case),
        overhead=overhead_part(case),
        kv_known=bool(case.architecture.layers),
    )
