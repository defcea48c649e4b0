"""Which precision of a model to run on a machine, and with which draft."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sizer.api.asked import (
    DeviceAsked,
    Options,
    WorkAsked,
    check_number,
    check_text,
    split_options,
    with_vram,
)
from sizer.api.targets import targets
from sizer.api.wanted import WantedAsked, only, require_known_memory
from sizer.errors import DoesNotFit, UnknownEngine, UsageError
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.units import parse_bytes
from sizer.workload import MOST_DRAFTED

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.advise.advice import Advice
    from sizer.advise.draft import Draft
    from sizer.advise.public import Recommended
    from sizer.advise.recommend import Wanted
    from sizer.answer.records import Estimate
    from sizer.device.records import Target
    from sizer.model.architecture import Architecture
    from sizer.workload import Workload

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DraftAsked:
    """A draft model, or `auto` for the best of the catalogue; None lengths and acceptances are the usual ones."""

    model: str
    draft_tokens: int | None = None
    acceptance: float | None = None

    def __post_init__(self) -> None:
        check_text("draft", self.model)
        check_number("draft-tokens", self.draft_tokens, 1, MOST_DRAFTED, whole=True)
        check_number("acceptance", self.acceptance, 0, 1)


def recommend(
    model: str,
    *,
    vram_bytes: int | str | None = None,
    prefer: str = "balanced",
    min_speed: float | None = None,
    max_loss: float | None = None,
    draft: str | None = None,
    draft_tokens: int | None = None,
    acceptance: float | None = None,
    **options: Unpack[Options],
) -> Recommended:
    """Which precision of a model to run, why, and the command that runs it, as `sizer recommend` answers.

    >>> recommend("Qwen/Qwen3-8B", device="rtx-4090", offline=True).chosen_model
    'Qwen/Qwen3-8B'

    `vram_bytes` is a GPU with that memory, whichever it is. Raises DoesNotFit where nothing runs.
    """
    from sizer.advise.public import recommended

    devices, work, offline = split_options(options)
    size = parse_bytes(vram_bytes) if isinstance(vram_bytes, str) else vram_bytes
    target = only(recommend_targets(devices, size))
    advice = advice_for(model, target, work, WantedAsked(prefer, min_speed, max_loss).wanted(), offline=offline)
    drafting = DraftAsked(draft, draft_tokens, acceptance) if draft else None
    assert advice.chosen is not None
    return recommended(advice, draft_for(advice.chosen, drafting, offline=offline))


def recommend_targets(asked: DeviceAsked, vram_bytes: int | None = None, say: Say | None = None) -> list[Target]:
    """The targets asked for; a size of VRAM or of RAM alone describes a machine. Raises UsageError."""
    asked = with_vram(asked, vram_bytes)
    if asked.ram_bytes is not None and not asked.names and asked.memory_bytes is None:
        asked = DeviceAsked(names=("consumer-cpu",), ram_bytes=asked.ram_bytes)
    return targets(asked, say)


def advice_for(model: str, target: Target, work: WorkAsked, wanted: Wanted, *, offline: bool = False) -> Advice:
    """The advice for one model on one target. Raises DoesNotFit with a way on where nothing runs."""
    advice = advised(model, target, work, wanted, offline=offline)
    if advice.chosen is None:
        raise nothing_runs(model, advice, wanted)
    return advice


def advised(model: str, target: Target, work: WorkAsked, wanted: Wanted, *, offline: bool = False) -> Advice:
    """The advice for one model on one target, which chooses nothing where nothing runs."""
    from sizer.advise.advice import advise, ladder_questions, usual_workload
    from sizer.advise.family import relatives
    from sizer.model.read.resolve import resolve

    architecture = resolve(model, offline=offline).architecture
    require_known_memory(target)
    if work.flags is not None:
        from sizer.engine.flagged_devices import with_ranks

        target = with_ranks(target, work.flags)
    asked = work.context_tokens is not None
    workload = usual_workload(architecture, work.workload(), work.context_tokens)
    try:
        questions = ladder_questions(architecture, target, workload, work.engine, work.flags)
    except UnknownEngine as error:
        elsewhere = _elsewhere(architecture, target, workload, wanted) if work.engine is not None else ""
        raise type(error)(error.message, f"{error.hint} {elsewhere}".strip()) from None
    return advise(questions, wanted, relatives(architecture), engine=work.engine, context_asked=asked)


def _elsewhere(architecture: Architecture, target: Target, workload: Workload, wanted: Wanted) -> str:
    """What is run there where no engine is asked for, in one sentence; empty where nothing is."""
    from sizer.advise.advice import advise, ladder_questions
    from sizer.advise.reasons import figures

    try:
        chosen = advise(ladder_questions(architecture, target, workload), wanted).chosen
    except UnknownEngine:
        return ""
    if chosen is None:
        return ""
    return f"Without --engine it is {chosen.precision} with {chosen.engine}: {figures(chosen)}."


def nothing_runs(model: str, advice: Advice, wanted: Wanted) -> DoesNotFit:
    """The error of an advice that chose nothing, with a way on."""
    return DoesNotFit(f"{model!r} does not run here: {advice.reason}", _way_on(advice, wanted))


def _way_on(advice: Advice, wanted: Wanted) -> str:
    if advice.alternatives:
        return advice.alternatives[0].text
    if wanted.min_tokens_per_s is not None and any(item.placement.whole for item in advice.tried):
        return "Lower --min-speed, or take a smaller model or a faster device."
    return "A smaller model, more memory, or --ram for layers on the host would help."


def draft_for(chosen: Estimate, asked: DraftAsked | None, *, offline: bool = False) -> Draft | None:
    """The draft asked for beside a chosen estimate, or the best of the catalogue; None where none is asked for or fits.

    Raises UsageError for a model that cannot draft for it.
    """
    from sizer.advise.draft import best_draft, compatible, draft
    from sizer.advise.family import relatives
    from sizer.model.read.resolve import resolve
    from sizer.speed.speculative import USUAL_ACCEPTANCE

    if asked is None:
        return None
    _a_model(chosen, asked.model)
    acceptance = USUAL_ACCEPTANCE if asked.acceptance is None else asked.acceptance
    if asked.model.lower() == "auto":
        among = relatives(chosen.architecture)
        return best_draft(chosen, among, acceptance=acceptance, draft_tokens=asked.draft_tokens)
    small = resolve(asked.model, offline=offline).architecture
    if not compatible(chosen.architecture, small):
        raise UsageError(
            f"{asked.model!r} cannot draft for {chosen.architecture.model_id!r}: it must be smaller and have the "
            f"same vocabulary ({small.vocab_size:,} entries against {chosen.architecture.vocab_size:,}).",
            "--draft auto takes the best of the catalogue.",
        )
    return draft(chosen, small, acceptance=acceptance, draft_tokens=asked.draft_tokens)


def _a_model(chosen: Estimate, wanted: str) -> None:
    """Raises UsageError for a way of drafting that is no model, and where the engine's own flags draft already."""
    from sizer.speed.speculative import draft_methods

    if wanted.strip().lower() in draft_methods():
        raise UsageError(
            f"--draft {shown(wanted)} is no draft model, which is what a recommendation weighs.",
            f"'sizer estimate MODEL --draft {wanted.strip().lower()}' tells what it gains; --draft auto finds a model.",
        )
    flagged = chosen.options.draft_method or chosen.options.draft_model
    if flagged:
        raise UsageError(
            f"--draft {shown(wanted)} stands beside the engine's own flags, which draft with {shown(flagged)}.",
            "Leave one of the two out.",
        )
