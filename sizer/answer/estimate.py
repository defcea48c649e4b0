"""Composes an estimate: stored bytes, footprint, placement, speed, and what was assumed for them."""

from __future__ import annotations

from dataclasses import replace

from sizer.answer.assumptions import assumptions
from sizer.answer.drafts import NamedDraft, beside
from sizer.answer.known_by_size import as_wide_as_sizes
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.kinds import memory_class
from sizer.device.records import Target
from sizer.engine.engines import Engine, default_engine, find_engine
from sizer.engine.flagged import with_options
from sizer.engine.options import EngineOptions
from sizer.engine.stored import store_for
from sizer.memory.case import Case
from sizer.memory.placement import LONGEST_CONTEXT_TOKENS, max_context_tokens, place
from sizer.memory.records import Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored, text_of
from sizer.precision.names import canonical
from sizer.speed.case import SpeedCase, prompt_reading, speed_case
from sizer.speed.measured_here import as_measured_here
from sizer.speed.predict import predict
from sizer.speed.records import Speculation, Speed, request_of
from sizer.workload import Split, Workload


def estimate(question: Question) -> Estimate:
    """The estimate of one question.

    Raises UnknownPrecision and UnknownEngine with the nearest names.
    """
    precision = canonical(question.precision)
    engine = find_engine(question.engine or default_engine(precision, question.target.device))
    engine.require_device(question.target.device)
    stored = question.stored or _stored(question, precision, engine.name)
    case = _case(question, engine, stored)
    needed, placement = place(case)
    longest = max_context_tokens(case, placement) if question.context_max else None
    if longest and longest < LONGEST_CONTEXT_TOKENS:
        case = replace(case, workload=replace(case.workload, context_tokens=longest))
        needed, placement = place(case)
    speed = _speed(question, case, engine, placement)
    return Estimate(
        architecture=question.architecture,
        target=case.target,
        engine=engine.name,
        precision=precision,
        workload=case.workload,
        stored=stored,
        footprint=needed,
        placement=placement,
        speed=speed,
        case=case,
        speculation=_speculation(question, case, engine, placement, speed),
        assumptions=assumptions(question, case, needed, speed),
        options=case.options,
    )


def _case(question: Question, engine: Engine, stored: Stored) -> Case:
    """The question as memory looks at it: the engine's rules at its release, with what its flags say."""
    options = question.options or EngineOptions(engine.name, question.engine_version)
    version = question.engine_version or options.version
    rule = engine.memory(version, question.engine_date)
    backend = engine.backend(question.target.device, options.backend_told)
    memory = with_options(rule.pooled(backend, options.cache_pooled), options)
    workload = _shared_out(question.workload, question.architecture, options)
    return Case(
        architecture=question.architecture,
        stored=text_of(stored) if memory.text_alone or _blind(question.architecture, options) else stored,
        workload=workload,
        target=question.target,
        engine=memory,
        parallelism=parallelism_of(engine, workload),
        can_offload=bool(engine.offload),
        experts_first="experts" in engine.offload,
        options=options.at_version(version),
        engine_date=question.engine_date,
        draft=beside(question.draft or _draft_asked(question), engine),
    )


def _blind(architecture: Architecture, options: EngineOptions) -> bool:
    """Whether flags keep the engine from loading a model's vision towers; few speak of it, and pay for the rules."""
    if options.vision is not False and options.images_per_prompt != 0:
        return False
    from sizer.memory.encoder import leaves_towers_out

    return leaves_towers_out(architecture, options)


def _draft_asked(question: Question) -> NamedDraft | None:
    """The model that the question's own words draft with (--draft), at the model's own precision."""
    drafter = question.drafting.drafter if question.drafting is not None else None
    return NamedDraft(drafter, canonical(question.precision)) if isinstance(drafter, Architecture) else None


def _shared_out(workload: Workload, architecture: Architecture, options: EngineOptions) -> Workload:
    """The workload; data ranks that share a mixture's experts are a split over experts, those of a dense model, which
    has none to share whatever its flags say, whole copies."""
    if workload.parallelism is Split.DATA and _experts_over_data(architecture, options):
        return replace(workload, parallelism=Split.EXPERT)
    if workload.parallelism is Split.EXPERT and architecture.experts is None and (options.data_parallel or 1) > 1:
        return replace(workload, parallelism=Split.DATA)
    return workload


def _experts_over_data(architecture: Architecture, options: EngineOptions) -> bool:
    return architecture.experts is not None and (options.experts_over_data or 1) > 1


def parallelism_of(engine: Engine, workload: Workload) -> Split:
    """How an engine splits a model over several devices: as asked, else its own first way. Raises UsageError."""
    return engine.split(workload.parallelism)


def _speed(question: Question, case: Case, engine: Engine, placement: Placement) -> Speed | None:
    """The predicted speed, or None where the device's bandwidth is unknown or no place holds the model."""
    if case.target.device.bandwidth_bytes_per_s is None:
        return None
    if placement.available_bytes is not None and not placement.fits:
        return None
    timed = _timed_case(question, case, engine, placement)
    speed = _together(_as_served(predict(timed), timed), case.workload)
    here = as_measured_here(speed, case.target, case.workload, engine.name, canonical(question.precision))
    return as_wide_as_sizes(here, question.architecture)


def _together(speed: Speed, workload: Workload) -> Speed:
    """The speed with the tokens of all sequences: the law tells those of one copy of the model."""
    return speed._replace(request=request_of(workload, speed.decode, speed.prefill))


def _copies(case: Case) -> int:
    """Whole copies of the model that share the sequences out; groups that share experts are one."""
    if case.parallelism is Split.DATA:
        return len(case.devices)
    experts = case.options.expert_parallel and case.architecture.experts is not None
    shared = experts or case.options.attention_data_parallel or _experts_over_data(case.architecture, case.options)
    return 1 if shared else case.replicas


def _of_one_copy(case: Case) -> tuple[Target, Workload]:
    """The devices and the sequences of one copy of the model, which is what the law of speed looks at.

    Copies of one device each stay the target's: their split has constants of its own.
    """
    copies = _copies(case)
    if copies == 1:
        return case.target, case.workload
    workload = replace(case.workload, batch_size=-(-case.workload.batch_size // copies))
    each = case.target.count // copies
    return (case.target if each <= 1 else replace(case.target, count=each)), workload


def _as_served(speed: Speed, case: SpeedCase) -> Speed:
    """The speed as points under load tell it: those known are of cards with HBM, and others need not read them."""
    if memory_class(case.device) != "hbm":
        return speed
    from sizer.serving.told import as_served

    return as_served(speed, case)


def _timed_case(question: Question, case: Case, engine: Engine, placement: Placement) -> SpeedCase:
    """What the law of speed looks at."""
    version = question.engine_version or case.options.version or None
    target, workload = _of_one_copy(case)
    return speed_case(
        question.architecture, case.stored, target, workload, engine.name, backend=case.backend,
        engine_version=version, placement=placement, graphs=case.options.graphs_of(workload.batch_size),
        reading=prompt_reading(case),
    )  # fmt: skip


def _stored(question: Question, precision: str, engine: str) -> Stored:
    version = question.options.version if question.options is not None else ""
    return store_for(question.architecture, precision, engine, version)


def _speculation(
    question: Question, case: Case, engine: Engine, placement: Placement, speed: Speed | None
) -> Speculation | None:
    """What the draft gains, at the model's own precision; None where no draft is asked for."""
    drafting = question.drafting
    if drafting is None or speed is None:
        return None
    from sizer.speed.speculative import at_rate, speculate

    found = drafting.drafter
    gain = speculate(
        _timed_case(question, case, engine, placement),
        (found, store_for(found, case.stored.precision, engine.name)) if isinstance(found, Architecture) else found,
        draft_tokens=drafting.draft_tokens,
        acceptance=drafting.acceptance,
    )
    return at_rate(gain, speed)
