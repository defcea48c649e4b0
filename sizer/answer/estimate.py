"""Composes an estimate: stored bytes, footprint, placement, speed, and what was assumed for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.answer.drafts import NamedDraft, beside, vocabulary_notes
from sizer.answer.known_by_size import as_wide_as_sizes
from sizer.answer.records import Estimate
from sizer.device.kinds import memory_class
from sizer.device.records import Target, shares_memory
from sizer.device.usable import limit_note
from sizer.engine.engines import Engine, default_engine, find_engine
from sizer.engine.flagged import notes_of, with_options
from sizer.engine.options import EngineOptions
from sizer.engine.stored import store_for
from sizer.frozen import dataclass
from sizer.memory.case import Case
from sizer.memory.placement import LONGEST_CONTEXT_TOKENS, max_context_tokens, place
from sizer.memory.records import Footprint, Placement
from sizer.memory.shard import undivided_heads
from sizer.model.architecture import Architecture, Tower
from sizer.model.stored import Stored, text_of
from sizer.precision.bitsandbytes import repacking_notes
from sizer.precision.names import canonical
from sizer.speed.case import SpeedCase, prompt_reading, speed_case
from sizer.speed.measured_here import as_measured_here
from sizer.speed.predict import predict
from sizer.speed.records import DraftMethod, Speculation, Speed, request_of
from sizer.units import format_gib
from sizer.workload import Split, Workload

if TYPE_CHECKING:
    from sizer.memory.own_estimate import OwnEstimate


@dataclass(frozen=True, slots=True)
class Drafting:
    """A drafter: how many tokens it drafts a step, and with which probability each is accepted.

    It is a model of its own, or a way of drafting beside the model (`mtp`, `eagle`, `dflash`, `ngram` …).
    """

    drafter: Architecture | DraftMethod
    draft_tokens: int
    acceptance: float

    @property
    def note(self) -> str:
        """What is assumed of it."""
        how = f"drafts {self.draft_tokens} tokens a step, each accepted with probability {self.acceptance:g}"
        if isinstance(self.drafter, Architecture):
            return f"{self.drafter.model_id} {how}; its weights and cache count."
        return f"{self.drafter.name} {how}; what it takes of memory is not counted."


@dataclass(frozen=True, slots=True)
class Question:
    """What an estimate is asked for: a model, where it runs, at which precision and engine, for which work.

    `stored` is given where a file's header told the exact bytes. `context_max` asks for the longest context that fits.
    `options` are what the engine's own flags said, `draft` the model that they draft with.
    """

    architecture: Architecture
    target: Target
    precision: str
    workload: Workload
    engine: str | None = None
    stored: Stored | None = None
    engine_version: str = ""
    engine_date: str = ""
    context_max: bool = False
    drafting: Drafting | None = None
    options: EngineOptions | None = None
    draft: NamedDraft | None = None


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
        assumptions=_assumptions(question, case, needed, speed),
        options=case.options,
    )


def _case(question: Question, engine: Engine, stored: Stored) -> Case:
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


TOGETHER = (
    "All prompts are read at once, then the sequences decode side by side; on a server prompts are read beside them: "
    "'sizer capacity --users N' tells its times."
)


def _assumptions(question: Question, case: Case, needed: Footprint, speed: Speed | None) -> tuple[str, ...]:
    """What a reader must know to trust the figures, most general first."""
    model, device = question.architecture, case.target.device
    notes = [*notes_of(case.options), *model.notes, *case.target.notes, *case.stored.notes]
    longest = model.max_context_tokens
    if longest is not None and (_longest_sequence(case) if model.decodes else case.workload.prompt_tokens) > longest:
        notes.append(f"The context asked for is longer than the {longest:,} tokens that the model was made for.")
    if case.workload.gpu_layers is not None and not case.can_offload:
        notes.append(f"{case.engine.engine} does not split layers with the host: --gpu-layers is not used.")
    notes += _engine_notes(case)
    if case.graph is not None and (projector_bytes := needed.weights.part("projector")):
        leave = "; --no-mmproj leaves it out" if case.options.vision else ""
        image = format_gib(needed.activations.part("projector"))
        notes.append(f"Its projector is loaded: {format_gib(projector_bytes)}, and {image} for an image{leave}.")
    if case.on_cpu:
        notes += repacking_notes(case.stored)
    if not needed.kv_known:
        notes.append("Cache and context are not known: the name alone tells no layers.")
    loaded = [entry.tensor for entry in case.stored.tensors if not entry.tensor.checkpoint_only]
    if any(tensor.tower in {Tower.VISION, Tower.AUDIO} for tensor in loaded):
        notes.append("Vision and audio towers are loaded; they do not run while text is decoded.")
    if device.memory_bytes is None and case.target.host_memory_bytes is None:
        notes.append(f"The memory beside {device.name} is not known: --ram says it.")
    if speed is None and device.bandwidth_bytes_per_s is None:
        notes.append(f"The bandwidth of {device.name} is not known: --bandwidth says it, 'sizer probe' measures it.")
    elif speed is None:
        notes.append(_unfitting_note(case))
        notes += [note for note in (limit_note(device),) if note]
    if speed is not None:
        notes += [*speed.notes, *_several_notes(case)]
    if question.drafting is not None:
        notes += [question.drafting.note, *vocabulary_notes(model, question.drafting.drafter)]
    return tuple(dict.fromkeys(notes))


def _longest_sequence(case: Case) -> int:
    """The context of one sequence: slots with caches of their own share what is asked for."""
    asked = case.workload.context_tokens
    return asked if case.graph is None else min(asked, case.plan.tokens)


def _several_notes(case: Case) -> Iterator[str]:
    """What several sequences at once do here, and where another command tells what a server does."""
    if case.workload.batch_size > 1 and case.architecture.decodes:
        yield TOGETHER


def _own_estimate(case: Case) -> OwnEstimate | None:
    """What an engine that runs on another's code expects of itself; no other engine has one, or pays for the rules."""
    if not case.engine.like:
        return None
    from sizer.memory.own_estimate import own_estimate

    return own_estimate(case)


def _engine_notes(case: Case) -> Iterator[str]:
    """What the engine does not do on the device, or with such files."""
    engine, device = find_engine(case.engine.engine), case.target.device
    if engine.leaves_gpu(device):
        yield f"{engine.name} leaves the GPU of {device.name} alone: its CPU computes."
    named = case.options.draft_model
    if named:
        counted = "its weights and cache count" if case.draft else "its size is not known here, and not counted"
        yield f"{named} drafts beside it: {counted}."
    odd = undivided_heads(case.architecture, case.ranks) if "heads" in engine.refuses else None
    if odd is not None:
        yield f"{engine.name} refuses this: {odd} attention heads are not divided by {case.ranks} ranks."
    own = _own_estimate(case)
    if own is not None:
        yield (
            f"{engine.name} itself expects {format_gib(own.total_bytes)} and sends {own.gpu_layers} of "
            f"{case.architecture.num_layers + 1} layers to the device by it: its own formula, not what is taken."
        )
    if case.parallelism is Split.DATA and case.architecture.experts is not None and _shares_experts(engine):
        yield (
            f"Told are whole copies, a server on each device: {engine.name}'s own data ranks share a mixture's experts "
            "and take less memory of each."
        )
    kind = case.workload.kv_precision
    if case.architecture.decodes and not engine.own_cache(kind):
        yield f"{engine.name} has no {kind} cache: told as if it had. It has {', '.join(engine.caches)}."
    if not engine.runs(case.stored.precision):
        yield f"{engine.name} is not known to load {case.stored.precision}: told as if it did."
    elif not engine.has_kernels(case.stored.precision, device):
        yield f"{engine.name} has no kernels for {case.stored.precision} on {device.name}: told as if it had."


def _shares_experts(engine: Engine) -> bool:
    """Whether the flag for an engine's data ranks shares a mixture's experts out over them."""
    from sizer.engine.flag_table import flags_of

    return any("experts_over_data" in flag.sets for name in (engine.name, engine.runtime) for flag in flags_of(name))


def _unfitting_note(case: Case) -> str:
    """Why there is no speed of what does not fit, and whether a host could help."""
    if shares_memory(case.target.device):
        return "No speed where the model does not fit: the system's memory is all that there is."
    if not find_engine(case.engine.engine).offload:
        return f"No speed where the model does not fit: {case.engine.engine} is taken to keep all of it on the devices."
    if case.target.host is not None:
        return "No speed where the model does not fit on the device and the host together."
    return "No speed where the model does not fit: --ram or --host let layers go to the host."
