"""What lies on the devices beside a model's layers: a projector, adapters, layers that predict, a model that drafts.

Engines with a pool (vLLM and its kin) keep a draft's cache in the model's own; with the others it is loaded as a model
of its own, with a cache and a buffer of its own.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.engine.options import EngineOptions
from sizer.frozen import NamedTuple
from sizer.memory.added_by_flags import draft_bytes, lora_bytes, prediction_bytes
from sizer.memory.cache import LayerCache, whole_cache
from sizer.memory.case import Case, predicting_architecture
from sizer.memory.projector import projector_bytes, projector_compute_bytes
from sizer.memory.shares import host_tables_bytes, table_bytes
from sizer.memory.working import graph_buffers, split_part, whole_buffer_bytes
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored


class Draft(NamedTuple):
    """What a model that drafts beside another takes: of the devices, and of the host (its input table, or all)."""

    weights_bytes: int = 0
    cache: LayerCache = LayerCache(0, 0)
    compute_bytes: int = 0
    host_bytes: int = 0


def draft_taken(case: Case) -> Draft:
    """What the draft takes as a model of its own: nothing in an engine with a pool, all of it on the host with -ngld 0.

    Its cache is as long as the model's and in 16 bits unless flags say so; a model's own layers that predict have such
    a context too, beside weights that count elsewhere (llama.cpp common/arg.cpp, tools/server/server-context.cpp).
    """
    by_itself = case.drafts_by_itself and case.graph is not None
    if case.pools or (case.draft is None and not by_itself):
        return Draft()
    if case.draft is None:
        own = _with_draft_flags(case, predicting_architecture(case), case.stored)
        return Draft(0, whole_cache(own.architecture, own.plan), _compute_bytes(own))
    own = _with_draft_flags(case, case.draft.architecture, case.draft.stored)
    weights = sum(entry.size_bytes for entry in own.stored.tensors if not entry.tensor.checkpoint_only)
    cache = whole_cache(own.architecture, own.plan)
    if case.options.draft_gpu_layers == 0 and not case.on_cpu:
        return _on_host(own, weights, cache)
    return Draft(weights - host_tables_bytes(own), cache, _compute_bytes(own), table_bytes(own))


def _on_host(own: Case, weights_bytes: int, cache: LayerCache) -> Draft:
    """A draft whose layers are on the host: its prompts still pass through a buffer of the device."""
    device_bytes = host_bytes = 0
    if own.reserves_graph:
        part = split_part(own, own.plan, own.architecture.num_layers, host_experts=False)
        device_bytes, host_bytes = graph_buffers(own, own.plan, part)
    return Draft(0, LayerCache(0, 0), device_bytes, weights_bytes + sum(cache) + host_bytes)


def _compute_bytes(case: Case) -> int:
    """The buffer of an engine on ggml; the others run a draft in the model's own."""
    return whole_buffer_bytes(case) if case.reserves_graph else 0


def _with_draft_flags(case: Case, architecture: Architecture, stored: Stored) -> Case:
    """A draft as a model of its own on the same devices, with the flags that speak of it."""
    told, context_tokens = case.options, case.options.draft_context_tokens or 0
    options = EngineOptions(
        told.engine,
        told.version,
        context_tokens=context_tokens or told.context_tokens,
        max_sequences=told.max_sequences,
        batch_tokens=told.batch_tokens,
        prefill_chunk_tokens=told.prefill_chunk_tokens,
        unified_cache=told.unified_cache,
        flash_attention=told.flash_attention,
        k_cache_type=told.draft_k_cache_type or "fp16",
        v_cache_type=told.draft_v_cache_type or "fp16",
        backend=told.backend,
        devices_used=told.devices_used,
    )
    work = replace(case.workload, context_tokens=context_tokens or case.workload.context_tokens)
    return replace(case, architecture=architecture, stored=stored, workload=work, options=options, draft=None)


def all_caches(case: Case) -> LayerCache:
    """The cache and states of all layers, and of a draft's."""
    own, draft = whole_cache(case.cached, case.plan), draft_taken(case).cache
    return LayerCache(own.attention_bytes + draft.attention_bytes, own.state_bytes + draft.state_bytes)


def added_weights(case: Case) -> dict[str, int]:
    """By name: the weights that flags add to a model's own, on all devices together."""
    count = len(case.devices) if case.ranks > 1 else 1
    added = {
        "LoRA slots": lora_bytes(case) * count,
        "projector": projector_bytes(case),
        "multi-token prediction": prediction_bytes(case) * count,
        "draft model": draft_bytes(case) * count + draft_taken(case).weights_bytes,
    }
    return {name: size for name, size in added.items() if size}


def added_compute(case: Case) -> dict[str, int]:
    """By name: the buffers that they add to a model's own."""
    added = {"projector": projector_compute_bytes(case), "draft model": draft_taken(case).compute_bytes}
    return {name: size for name, size in added.items() if size}
