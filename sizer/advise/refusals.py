"""Why a command does not start: one rule a reason, from what the engine lacks to what the memory does not hold."""

from __future__ import annotations

from sizer.advise.launched import DTYPES, checkpoint_methods
from sizer.advise.planned import Planned
from sizer.answer.records import Estimate
from sizer.cache_formats import cache_format
from sizer.device.capability import cuda_capability
from sizer.engine.first_versions import too_old_for
from sizer.engine.flagged import cache_type, ranks
from sizer.engine.graph_rules import graph_rule
from sizer.engine.model_classes import model_code
from sizer.engine.precisions import loads_experts, moved_out
from sizer.engine.quantizations import quantization_flag
from sizer.engine.releases import version_numbers
from sizer.memory.shard import undivided_heads
from sizer.precision.names import precision_of
from sizer.units import format_gib

FIRST_BFLOAT16, FALLS_BACK_SINCE = 8.0, (0, 9)
"""vllm/platforms/cuda.py check_if_supports_dtype; `_resolve_auto_dtype` of 0.9.1 (read)."""


def refusal(planned: Planned, item: Estimate) -> str:
    """Why the command does not start; empty where it does."""
    for rule in (_code, _ranks, _heads, _length, _floats, _cache, _values, _kernels, _made):
        reason = rule(planned)
        if reason:
            return reason
    return _memory(planned, item)


def _code(planned: Planned) -> str:
    """A model whose class the engine's version does not have."""
    return model_code(planned.architecture, planned.engine.name, planned.options).lacking


def _ranks(planned: Planned) -> str:
    wanted, have = ranks(planned.options), planned.target.count + len(planned.target.others)
    if wanted is not None and wanted > have > 1:
        return f"its flags ask for {wanted} devices, {have} are there."
    return ""


def _heads(planned: Planned) -> str:
    """Attention heads are dealt out whole to tensor-parallel ranks."""
    size = planned.options.tensor_parallel or 1
    if "heads" not in planned.engine.refuses or size <= 1:
        return ""
    odd = undivided_heads(planned.architecture, size)
    return f"{odd} attention heads are not divided by {size} ranks." if odd else ""


def _length(planned: Planned) -> str:
    own, asked = planned.architecture.max_context_tokens, planned.options.context_tokens
    if "length" in planned.engine.refuses and own and asked and asked > own:
        return f"a context of {asked:,} tokens is longer than the {own:,} that the model's config allows."
    return ""


def _cache(planned: Planned) -> str:
    """A cache format that a flag names and the engine has not got."""
    options, engine = planned.options, planned.engine
    for text in (options.k_cache_type, options.v_cache_type):
        kind = cache_type(text)
        if kind and engine.own_cache(kind) != kind:
            return f"{engine.name} has no {kind} cache: it has {', '.join(engine.caches)}."
    return ""


def _values(planned: Planned) -> str:
    """llama.cpp quantizes cached values for flash attention alone (llama-context.cpp: "requires flash_attn")."""
    options = planned.options
    kind, rule = cache_type(options.v_cache_type), graph_rule(options.engine, options.version)
    if "values" not in planned.engine.refuses or not kind or cache_format(kind).block_values == 1:
        return ""
    by_default = rule is not None and rule.flash_attention != "no"
    if by_default if options.flash_attention is None else options.flash_attention:
        return ""
    return f"values of the cache in {kind} need flash attention, which is off: -fa on, or leave the value type out."


def _kernels(planned: Planned) -> str:
    """Weights that the engine does not load, kernels that the device is too old for."""
    device = planned.target.device
    if not planned.engine.runs(planned.precision):
        return f"{planned.engine.name} does not load {planned.precision} weights."
    version = planned.options.version
    if too_old := too_old_for(planned.precision, planned.engine.name, version):
        return too_old
    since, plugin = moved_out(planned.precision, planned.engine.name, version)
    if since and not plugin:
        return f"{planned.engine.name} loads no {planned.precision} weights since {since}."
    if not loads_experts(planned.architecture, planned.precision, planned.engine.name):
        return f"{planned.engine.name} does not load experts in {planned.precision}."
    if not planned.engine.has_kernels(planned.precision, device):
        return f"{planned.engine.name} has no kernels for {planned.precision} on {device.name}."
    return ""


def _floats(planned: Planned) -> str:
    if not lacks_bfloat16(planned):
        return ""
    card, needed = planned.target.device, FIRST_BFLOAT16
    return f"bfloat16 needs a compute capability of {needed}, {card.name} has {cuda_capability(card)}: --dtype half."


def lacks_bfloat16(planned: Planned) -> bool:
    """Whether the engine refuses the plan's bfloat16 on a card too old for it.

    vLLM refuses it before Ampere where a flag asks for it; its `auto` falls back to half since 0.9.
    """
    options = planned.options
    asked = DTYPES.get(options.weights_dtype.lower(), "")
    version = version_numbers(options.version)
    unasked = not asked and planned.precision == "bf16" and bool(version) and version < FALLS_BACK_SINCE
    wanted = "bfloat16" in planned.engine.refuses and (asked == "bf16" or unasked)
    return wanted and cuda_capability(planned.target.device) < FIRST_BFLOAT16


def _made(planned: Planned) -> str:
    """A `--quantization` that the files do not have: made beforehand alone, another method's, or a second one."""
    options, own = planned.options, planned.own_precision
    model = planned.architecture.model_id
    if options.load_bits and "twice" in planned.engine.refuses and own and precision_of(own).kind != "bitsandbytes":
        return f"the files of {model} are stored in {own}: {planned.engine.name} does not quantize them a second time."
    asked = quantization_flag(options.engine, options.quantization)
    if asked is None or "files" not in planned.engine.refuses:
        return ""
    if not own:
        made = f"{options.quantization} weights are made beforehand, and the files of {model} are not quantized."
        return "" if asked.makes else made
    if asked.goes_with(checkpoint_methods(planned.architecture, own)):
        return ""
    word = f"--quantization {options.quantization}"
    return f"the files of {model} are stored in {own}, which {word} does not match: leave it out."


def _memory(planned: Planned, item: Estimate) -> str:
    """Why the memory does not hold it; empty where it does, or where nobody knows the memory."""
    placement, context = item.placement, item.workload.context_tokens
    if placement.available_bytes is None:
        return ""
    if not placement.fits:
        return _too_small(planned, item)
    capacity = placement.kv_capacity_tokens
    if capacity is not None and capacity < (context if keeps_length(planned) else 1):
        return f"a sequence of {context:,} tokens needs more cache than the {capacity:,} tokens that there is room for."
    return ""


def _too_small(planned: Planned, item: Estimate) -> str:
    """Which place does not hold its part: the host, the pages of the cache, device and host together, or a device."""
    placement = item.placement
    short = format_gib(placement.shortfall_bytes)
    host = placement.host
    if host is not None and host.available_bytes is not None and host.total_bytes > host.available_bytes:
        there = format_gib(host.available_bytes)
        return f"the host's part takes {format_gib(host.total_bytes)} of the {there} that it has: {short} too much."
    most = max(placement.shares, key=lambda share: share.total_bytes - (share.available_bytes or 0))
    if most.total_bytes <= (most.available_bytes or 0):
        return f"its pool of pages is {short} too small for a sequence of {item.workload.context_tokens:,} tokens."
    there = format_gib(most.available_bytes or 0)
    if dealt := dealt_badly(item):
        return dealt
    if item.case.can_offload and item.target.host is not None and item.target.host_memory_bytes is not None:
        beside, takes = format_gib(item.target.host_memory_bytes), format_gib(item.footprint.total_bytes)
        have = f"the devices have {format_gib(placement.available_bytes or 0)} for it, the host {beside}"
        return f"it takes {takes}; {have}: {short} too much."
    each = "each device" if len(placement.shares) > 1 else planned.target.device.name
    return f"it takes {format_gib(most.total_bytes)} of the {there} that {each} has for it: {short} too much."


def dealt_badly(item: Estimate) -> str:
    """That one of several devices takes more than it has though all together would do; empty otherwise."""
    shares, available = item.placement.shares, item.placement.available_bytes or 0
    over = max(shares, key=lambda share: share.missing_bytes)
    if item.placement.host is None or not over.missing_bytes or item.placement.device_bytes > available:
        return ""
    takes, there = format_gib(over.total_bytes), format_gib(over.available_bytes or 0)
    return (
        f"device {shares.index(over) + 1} of {len(shares)} takes {takes} of the {there} that it has: layers are dealt "
        "out by their number, whatever of them lies on the host; -ts says how many each gets."
    )


def keeps_length(planned: Planned) -> bool:
    """Whether the engine wants room for one sequence of its longest context: always, or where a flag says it."""
    refuses = planned.engine.refuses
    return "pool" in refuses or ("told-pool" in refuses and (planned.options.context_tokens or 0) > 0)
