"""What an engine's flags say of the work and of its memory: options laid over a workload and a memory rule."""

from __future__ import annotations

from dataclasses import replace

from sizer.cache_formats import cache_format, cache_formats
from sizer.engine.engines import find_engine
from sizer.engine.memory_rules import EngineMemory
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownPrecision, UsageError, did_you_mean
from sizer.workload import MOST_LAYERS, Split, Workload

SPLIT_MODES = {"layer": Split.LAYER, "row": Split.ROW, "tensor": Split.TENSOR, "graph": Split.TENSOR}
"""llama.cpp's ways: a row split gathers after each matrix; `tensor` (github.com/ggml-org/llama.cpp pull 19378) and
ik_llama.cpp's `graph` exchange sums where the graph needs them, twice a layer."""


def ranks(options: EngineOptions) -> int | None:
    """How many devices the flags ask for; None where none of them says it."""
    if options.split_mode == "none":
        return 1
    sizes = (options.tensor_parallel, options.pipeline_parallel, options.data_parallel)
    if all(size is None for size in sizes):
        named = [name for name in options.devices_used if name != "none"]
        return len(set(named)) or None
    tensor, pipeline, data = ((size or 1) for size in sizes)
    if min(tensor, pipeline, data) < 1:
        return None  # -1: all the devices there are
    return tensor * pipeline * (1 if options.attention_data_parallel else data)


def attention_groups(options: EngineOptions) -> int:
    """Groups of ranks with sequences of their own: each keeps the attention and a cache, all share the experts.

    Replicas of --data-parallel-size, or such groups within the tensor ranks: as many as SGLang's --dp says beside
    --enable-dp-attention, and every rank one with TensorRT-LLM's --enable_attention_dp, which has no flag for a number.
    """
    if options.attention_data_parallel:
        from sizer.engine.flag_table import flag_setting

        if flag_setting(options.dialects, "data_parallel", options.version) is None:
            return options.tensor_parallel or 1
    return options.data_parallel or 1


def split_of(options: EngineOptions) -> Split | None:
    """The split that flags ask for, or None."""
    tensor, pipeline = options.tensor_parallel or 1, options.pipeline_parallel or 1
    if tensor != 1 and pipeline > 1:
        return Split.TENSOR_AND_PIPELINE
    if tensor != 1:
        return Split.TENSOR
    if pipeline > 1:
        return Split.PIPELINE
    if (options.data_parallel or 1) > 1:
        return Split.EXPERT if options.expert_parallel else Split.DATA
    return SPLIT_MODES.get(options.split_mode)


def cache_type(text: str, engine: str = "") -> str:
    """A cache format of the table by an engine's own name; empty for `auto`. Raises UnknownPrecision for another."""
    if text.strip().lower() in {"", "auto"}:
        return ""
    try:
        return cache_format(text).key
    except UnknownPrecision:
        known = (find_engine(engine).caches if engine else ()) or tuple(cache_formats())
        hint = did_you_mean(text.lower(), known) or f"Known: {', '.join(known)}."
        raise UnknownPrecision(f"unknown cache type {text[:60]!r}{' of ' + engine if engine else ''}.", hint) from None


def with_flags(workload: Workload, options: EngineOptions, *, context_asked: bool = True) -> Workload:
    """A workload with what the flags say; a context asked for in words of sizer's own stays (`context_asked`).

    Raises UsageError where prompt and output do not fit into the context that a flag allows.
    """
    changed: dict[str, object] = {}
    context = options.context_tokens
    if context is not None and context > 0 and not context_asked:
        needed = workload.prompt_tokens + workload.output_tokens
        if context < needed:
            raise UsageError(
                f"the engine's context of {context:,} tokens is shorter than prompt and output together ({needed:,}).",
                "Ask for a shorter --prompt or --output.",
            )
        changed["context_tokens"] = context
    kind = cache_type(options.k_cache_type, options.engine)
    cache_type(options.v_cache_type, options.engine)
    if kind:
        changed["kv_precision"] = kind
    split = split_of(options)
    if split is not None and workload.parallelism is None:
        changed["parallelism"] = split
    if options.threads and options.threads > 0 and workload.threads is None:
        changed["threads"] = options.threads
    if options.gpu_layers is not None and workload.gpu_layers is None:
        changed["gpu_layers"] = min(options.gpu_layers, MOST_LAYERS) if options.gpu_layers >= 0 else MOST_LAYERS
    return replace(workload, **changed) if changed else workload  # type: ignore[arg-type]


def with_options(memory: EngineMemory, options: EngineOptions) -> EngineMemory:
    """A memory rule with the numbers that flags set: fraction of the device, chunks of a prompt, pages of the cache."""
    changed: dict[str, object] = {}
    if options.memory_fraction is not None and memory.device_fraction is not None:
        if not 0 < options.memory_fraction <= 1:
            raise UsageError(f"a share of memory is {options.memory_fraction:g}.", "It lies between 0 and 1.")
        changed["device_fraction"] = options.memory_fraction
    chunk = options.prefill_chunk_tokens or (options.batch_tokens if memory.profile else None)
    if not memory.profile and options.batch_tokens and options.batch_tokens > 0:
        chunk = min(chunk or memory.prefill_chunk_tokens or options.batch_tokens, options.batch_tokens)
    if chunk and chunk > 0 and memory.prefill_chunk_tokens is not None:
        changed["prefill_chunk_tokens"] = chunk
    if options.cache_block_tokens and options.cache_block_tokens > 0:
        changed["kv_block_tokens"] = options.cache_block_tokens
    return memory._replace(**changed) if changed else memory  # type: ignore[arg-type]


def notes_of(options: EngineOptions) -> tuple[str, ...]:
    """What of the flags was not understood, each with the nearest that is known, and what is not counted."""
    notes = []
    for text, near in options.unknown:
        if " " in text:
            notes.append(f"{text}.")
        else:
            hint = f" The nearest is {near}." if near else ""
            notes.append(f"{text!r} is no flag of {options.engine} that sizer knows: it is left out.{hint}")
    if (options.context_parallel or 1) > 1:
        notes.append("Context-parallel ranks are not counted: each is told to hold and read a sequence's whole cache.")
    if options.host_cache_bytes or options.host_swap_bytes:
        notes.append("The cache that its flags keep in the host's memory is not counted.")
    if options.kv_connector:
        notes.append("What the connector of --kv-transfer-config keeps on the devices is not counted.")
    if options.quantization and _unknown_quantization(options):
        word = f"{options.quantization!r} is no quantization of {options.engine} that sizer knows"
        notes.append(f"{word}: it is left out.")
    return tuple(notes)


def _unknown_quantization(options: EngineOptions) -> bool:
    from sizer.engine.quantizations import made_online

    return made_online(options.engine, options.quantization) is None
