"""Whether an engine's command starts on a target, and why not.

The estimate decides; the rest are rules of the engines' own start-up, each a word in `data/engines.csv`.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.advise.check_changes import CONTEXT_STEP, FIRST_BFLOAT16, changes, lacks_bfloat16, last
from sizer.advise.launched import checkpoint_methods
from sizer.advise.planned import Planned, all_on_devices, reserved_work
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.cache_formats import cache_format
from sizer.device.capability import cuda_capability
from sizer.device.records import is_cpu, shares_memory
from sizer.engine.first_versions import too_old_for
from sizer.engine.flagged import cache_type, ranks
from sizer.engine.graph_rules import graph_rule
from sizer.engine.model_classes import no_code
from sizer.engine.precisions import loads_experts, moved_out
from sizer.engine.quantizations import quantization_flag
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.memory.offload import even_split
from sizer.memory.profile_run import profile_run
from sizer.memory.shard import undivided_heads
from sizer.precision.names import precision_of
from sizer.units import format_gib
from sizer.workload import Workload


@dataclass(frozen=True, slots=True)
class Checked:
    """An estimate with its verdict: whether it starts, in words why, and changes each of which makes it start."""

    estimate: Estimate
    starts: bool
    reason: str
    change: tuple[str, ...] = ()


def check(planned: Planned) -> Checked:
    """The verdict of a command on a target. Raises UnknownEngine where the engine does not run on it at all."""
    item = _estimate(planned)
    reason = refusal(planned, item)
    if not reason:
        return Checked(_at_once(planned, item), starts=True, reason=_room(planned, item))
    dealt = even_split(item.case, item.footprint) if _dealt_badly(item) else ()
    return Checked(item, starts=False, reason=reason, change=tuple(changes(planned, _starts, dealt)))


def _at_once(planned: Planned, item: Estimate) -> Estimate:
    """The estimate of as many sequences at once as a benchmark runs, no more than an engine schedules and its pool
    holds; a verdict of an engine that has no pool is of them already."""
    capacity, each = item.placement.kv_capacity_tokens, planned.prompt_tokens + planned.output_tokens
    if planned.batch_size == 1 or capacity is None:
        return item
    scheduled = profile_run(item.case).sequences if item.case.engine.profile else planned.batch_size
    most = min(planned.batch_size, planned.options.max_sequences or scheduled, capacity // each)
    question = _question(planned, item.workload)

    def of(count: int) -> Estimate:
        work = replace(item.workload, batch_size=count, context_tokens=each)
        return estimate(replace(question, workload=work))

    held = last(lambda count: of(count).placement.fits, range(1, most + 1))
    return item if held is None else of(held)


def _starts(planned: Planned) -> bool:
    try:
        return not refusal(planned, _estimate(planned))
    except UsageError:
        return False


def _estimate(planned: Planned) -> Estimate:
    """The estimate of a plan. An engine that fits what no flag fixes takes the longest context that fits."""
    workload, fitting = reserved_work(planned)
    question = _question(planned, workload, fitting)
    item = estimate(question)
    if fitting:
        return _lengthened(question, item, planned)
    longest = min(item.placement.kv_capacity_tokens or 0, item.max_context_tokens or 0)
    if longest and not _keeps_length(planned) and longest < workload.context_tokens:
        # It starts with whatever pool there is room for: a sequence may then be no longer than that.
        least = max(longest, workload.prompt_tokens + workload.output_tokens)
        return estimate(replace(question, workload=replace(workload, context_tokens=least)))
    return item


def _question(planned: Planned, workload: Workload, fitting: bool = False) -> Question:
    """What is estimated of a plan: its work, at a context that flags said unless the engine fits one (`fitting`)."""
    return Question(
        architecture=planned.architecture,
        target=replace(planned.used, host=None) if all_on_devices(planned) else planned.used,
        precision=planned.precision,
        workload=workload,
        engine=planned.options.engine,
        stored=planned.stored,
        draft=planned.draft,
        options=planned.options if fitting else replace(planned.options, context_tokens=workload.context_tokens),
    )


def _lengthened(question: Question, least: Estimate, planned: Planned) -> Estimate:
    """The estimate with the longest context that leaves the engine's margin free on each device, `least` at the least.

    Layers that go to the host because the shortest does not fit leave it as short; flags that send some there do not.
    """
    options, work = planned.options, question.workload
    placed_by_flags = options.uses_host or options.gpu_layers is not None or options.gpu_layers_share is not None
    if not least.placement.fits or not (least.placement.whole or placed_by_flags):
        return least
    margin_bytes = options.fit_margin_bytes or planned.memory.split_margin_bytes
    target = question.target
    roomy = replace(question, target=replace(target, reserve_bytes=target.reserve_bytes + margin_bytes))
    own = planned.architecture.max_context_tokens or work.context_tokens

    def lengthened(step: int) -> Workload:
        return replace(work, context_tokens=max(work.context_tokens, min(own, step * CONTEXT_STEP)))

    def fits(step: int) -> bool:
        found = estimate(replace(roomy, workload=lengthened(step))).placement
        return found.fits and found.gpu_layers == least.placement.gpu_layers and found.whole == least.placement.whole

    longest = last(fits, range(work.context_tokens // CONTEXT_STEP, -(-own // CONTEXT_STEP) + 1))
    return least if longest is None else estimate(replace(question, workload=lengthened(longest)))


def _keeps_length(planned: Planned) -> bool:
    """Whether the engine wants room for one sequence of its longest context: always, or where a flag says it."""
    refuses = planned.engine.refuses
    return "pool" in refuses or ("told-pool" in refuses and (planned.options.context_tokens or 0) > 0)


def refusal(planned: Planned, item: Estimate) -> str:
    """Why the command does not start; empty where it does."""
    for rule in (_code, _ranks, _heads, _length, _floats, _cache, _values, _kernels, _made):
        reason = rule(planned)
        if reason:
            return reason
    return _memory(planned, item)


def _code(planned: Planned) -> str:
    """A model whose class the engine's version does not have."""
    options = planned.options
    return no_code(planned.architecture, planned.engine.name, options.version, dict(options.given))


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


def _made(planned: Planned) -> str:
    """A `--quantization` that the files do not have: made beforehand alone, another method's, or a second one."""
    options, own = planned.options, planned.own_precision
    model = planned.architecture.model_id
    if options.load_bits and "twice" in planned.engine.refuses and own and precision_of(own).kind != "bitsandbytes":
        return f"the files of {model} are stored in {own}: transformers does not quantize them a second time."
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
    if capacity is not None and capacity < (context if _keeps_length(planned) else 1):
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
    if dealt := _dealt_badly(item):
        return dealt
    if item.case.can_offload and item.target.host is not None and item.target.host_memory_bytes is not None:
        beside, takes = format_gib(item.target.host_memory_bytes), format_gib(item.footprint.total_bytes)
        have = f"the devices have {format_gib(placement.available_bytes or 0)} for it, the host {beside}"
        return f"it takes {takes}; {have}: {short} too much."
    each = "each device" if len(placement.shares) > 1 else planned.target.device.name
    return f"it takes {format_gib(most.total_bytes)} of the {there} that {each} has for it: {short} too much."


def _dealt_badly(item: Estimate) -> str:
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


def _room(planned: Planned, item: Estimate) -> str:
    """What a command that starts has room for, in one sentence."""
    placement, context = item.placement, item.workload.context_tokens
    if placement.available_bytes is None:
        device, says = planned.target.device, "--ram" if is_cpu(planned.target.device) else "--memory"
        return f"it takes {format_gib(placement.device_bytes)}, if {device.name} has them: {says} says what it has."
    if placement.kv_capacity_tokens is not None:
        longest = min(context, placement.kv_capacity_tokens)
        room = f"it has room for {placement.kv_capacity_tokens:,} tokens of cache; one sequence may take {longest:,}"
        away = placement.host.weights_bytes if placement.host is not None else 0
        if away and placement.host_experts:
            return f"{room}; the host computes {format_gib(away)} of experts."
        return f"{room}; each step reads {format_gib(away)} of weights from the host." if away else f"{room}."
    if placement.host is not None and placement.gpu_layers < planned.architecture.num_layers:
        kind, layers = "", planned.architecture.num_layers
        if placement.host_experts:
            kind, layers = "the experts of ", planned.architecture.expert_layers or layers
        rest = "the rest on the host"
        if placement.host.available_bytes is None:
            rest += f", which must have {format_gib(placement.host.total_bytes)} for it: --ram says what it has"
        return f"it runs with {kind}{placement.gpu_layers} of {layers} layers on the device, {rest}."
    free = placement.available_bytes - placement.device_bytes
    taken = format_gib(placement.device_bytes)
    beside = 0 if shares_memory(planned.target.device) else placement.beside.total_bytes
    host = f", and {format_gib(beside)} of the host's memory" if beside else ""
    return f"it takes {taken} at a context of {context:,} tokens{host}; {format_gib(free)} stay free."
