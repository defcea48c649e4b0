"""Estimates from names and options: one for each target and precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import Options, WorkAsked, check_number, check_text, split_options
from sizer.api.precisions import DEFAULT_PRECISIONS, precisions_of
from sizer.api.targets import targets, with_usual_host
from sizer.workload import MOST_DRAFTED, USUAL_DRAFTED

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.answer.document import Answer
    from sizer.answer.question import Drafting
    from sizer.answer.records import Estimate
    from sizer.device.records import Target
    from sizer.model.architecture import Architecture
    from sizer.model.read.resolve import Resolved


def estimates(resolved: Resolved, target: Target, work: WorkAsked) -> Iterator[Estimate]:
    """One estimate a precision of one model on one target."""
    from sizer.answer.drafts import draft_named
    from sizer.answer.estimate import estimate as estimate_one
    from sizer.answer.question import Question
    from sizer.device.records import is_cpu

    workload = work.workload()
    if work.flags is not None:
        from sizer.engine.flagged_devices import with_ranks

        target = with_ranks(target, work.flags)
    layers = resolved.architecture.num_layers
    on_host = workload.gpu_layers is not None and workload.gpu_layers < layers
    on_host = on_host or (work.flags is not None and work.flags.uses_host)
    if on_host and target.host is None and not is_cpu(target.device):
        target = with_usual_host(target)
    drafting = told_drafting(resolved.architecture, work)
    precisions = precisions_of(resolved, work, target.device)
    target = _left_out_noted(target, precisions, work)
    for precision in precisions:
        stored = resolved.stored if resolved.stored and resolved.stored.precision == precision else None
        yield estimate_one(
            Question(
                architecture=resolved.architecture,
                target=target,
                precision=precision,
                workload=workload,
                engine=work.engine,
                stored=stored,
                context_max=work.context_tokens == "max",
                drafting=drafting,
                options=work.flags,
                draft=draft_named(work.flags),
            )
        )


def _left_out_noted(target: Target, precisions: Sequence[str], work: WorkAsked) -> Target:
    """The target with a note on the usual precisions that are left out because nobody said whose device it is."""
    left = [name for name in DEFAULT_PRECISIONS if name not in precisions]
    if target.device.vendor or work.precisions or work.engine is not None or len(left) == len(DEFAULT_PRECISIONS):
        return target
    note = f"{', '.join(left)} left out: their engines run on some makers' devices alone; --device names one."
    return replace(target, notes=(*target.notes, note)) if left else target


def told_drafting(model: Architecture, work: WorkAsked) -> Drafting | None:
    """What drafts for a model, as asked for or by the engine's own flags. Raises UsageError where they disagree, or the
    model cannot."""
    if work.drafting is None and (work.flags is None or not (work.flags.draft_method or work.flags.draft_model)):
        return None
    from sizer.answer.drafted import drafting_told

    return drafting_told(model, work.drafting, work.flags)


def drafting_of(
    draft: str | None, draft_tokens: int | None, acceptance: float | None, *, offline: bool
) -> Drafting | None:
    """The drafter and how it is used, where one is asked for: a model, or a method by its name (`mtp`, `eagle` …).

    Raises UsageError for a number out of bounds, and the errors of a model's name.
    """
    check_text("draft", draft)
    check_number("draft-tokens", draft_tokens, 1, MOST_DRAFTED, whole=True)
    check_number("acceptance", acceptance, 0, 1)
    if draft is None:
        return None
    if draft.strip().lower() == "auto":
        from sizer.errors import UsageError

        raise UsageError("an estimate takes a draft by its name.", "'sizer recommend MODEL --draft auto' finds one.")
    from sizer.answer.question import Drafting
    from sizer.model.read.resolve import resolve
    from sizer.speed.speculative import USUAL_ACCEPTANCE, draft_methods

    drafter = draft_methods().get(draft.strip().lower()) or resolve(draft, offline=offline).architecture
    tokens = USUAL_DRAFTED if draft_tokens is None else draft_tokens
    accepted = USUAL_ACCEPTANCE if acceptance is None else acceptance
    return Drafting(drafter, tokens, accepted, chosen=draft_tokens is not None)


def estimate(
    model: str,
    *,
    draft: str | None = None,
    draft_tokens: int | None = None,
    acceptance: float | None = None,
    **options: Unpack[Options],
) -> Answer:
    """Memory and speed of a model, as `sizer estimate` answers: one estimate for each device and precision.

    >>> answer = estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True)
    >>> answer.model.total_params
    8190735360
    >>> answer.estimates[0].memory.fits
    True

    `draft` is a draft model or a method (`mtp`, `eagle` …) that drafts `draft_tokens` a step (None: as many as the
    engine's flags say, else 4), each accepted with probability `acceptance` (None: the usual one); what an engine's own
    flags draft with is told without it. `options` are those of `sizer.api.asked.Options`. Raises the errors of
    `sizer.errors`, each with what to do next.
    """
    from sizer.advise.reasons import recommendation
    from sizer.answer.public import answer
    from sizer.model.read.resolve import resolve

    devices, work, offline = split_options(options)
    work = replace(work, drafting=drafting_of(draft, draft_tokens, acceptance, offline=offline))
    resolved = resolve(model, offline=offline)
    found = [item for target in targets(devices) for item in estimates(resolved, target, work)]
    return answer(found, recommendation(found))
