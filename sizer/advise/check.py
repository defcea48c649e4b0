"""Whether an engine's command starts on a target, and why not.

The estimate decides; the rest are rules of the engines' own start-up, each a word in `data/engines.csv`.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.advise.check_changes import CONTEXT_STEP, changes, last
from sizer.advise.planned import Planned, all_on_devices, reserved_work
from sizer.advise.refusals import dealt_badly, keeps_length, refusal
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.records import is_cpu, shares_memory
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.memory.offload import even_split
from sizer.memory.profile_run import profile_run
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
    dealt = even_split(item.case, item.footprint) if dealt_badly(item) else ()
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
    if longest and not keeps_length(planned) and longest < workload.context_tokens:
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
