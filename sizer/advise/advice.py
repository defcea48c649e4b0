"""Composes a recommendation: the ladder's estimates, the choice, its neighbours, and ways out where nothing fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sizer.advise.alternatives import Alternative, alternatives, smaller_model
from sizer.advise.ladder import ladder
from sizer.advise.recommend import Wanted, choose, neighbours, reason
from sizer.device.records import Target
from sizer.estimate.estimate import Question, estimate
from sizer.estimate.records import Estimate
from sizer.estimate.workload import Workload
from sizer.model.architecture import Architecture

USUAL_CONTEXT_TOKENS = 8192
"""The context that a recommendation leaves room for unless asked otherwise, at most the model's own."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to run. `chosen` is None where nothing runs; `tried` are the ladder's estimates, best quality first.

    `alternatives` are ways out where nothing fits whole; `chosen` is then the first of them.
    """

    chosen: Estimate | None
    reason: str
    tried: tuple[Estimate, ...]
    better: Estimate | None = None
    cheaper: Estimate | None = None
    alternatives: tuple[Alternative, ...] = ()


def usual_workload(architecture: Architecture, workload: Workload, context_asked: bool) -> Workload:
    """The workload with room for a usual context where none was asked for."""
    if context_asked:
        return workload
    longest = architecture.max_context_tokens or USUAL_CONTEXT_TOKENS
    return replace(workload, context_tokens=max(workload.context_tokens, min(USUAL_CONTEXT_TOKENS, longest)))


def questions_for(
    architecture: Architecture, target: Target, workload: Workload, engine: str | None = None
) -> list[Question]:
    """One question for each rung of the device's ladder."""
    rungs = ladder(architecture, target.device, engine)
    return [Question(architecture, target, rung.precision, workload, engine=rung.engine) for rung in rungs]


def advise(questions: Sequence[Question], wanted: Wanted, smaller: Iterable[Architecture] = ()) -> Advice:
    """The advice for one model on one target; `smaller` are models to fall back to where nothing else helps."""
    tried = tuple(estimate(question) for question in questions)
    chosen = choose(tried, wanted)
    if chosen is not None:
        better, cheaper = neighbours(tried, chosen, wanted)
        return Advice(chosen, reason(tried, chosen, wanted), tried, better, cheaper)
    ways = alternatives(questions, tried, wanted)
    first = questions[0]

    def ask(candidate: Architecture) -> Estimate | None:
        others = questions_for(candidate, first.target, first.workload, first.engine)
        return choose([estimate(question) for question in others], wanted)

    model = smaller_model(first.architecture, list(smaller), ask)
    ways += [model] if model is not None else []
    why = _why_nothing(tried, wanted)
    if not ways:
        return Advice(None, why, tried)
    return Advice(ways[0].estimate, f"{why} {ways[0].text}", tried, alternatives=tuple(ways))


def _why_nothing(tried: Sequence[Estimate], wanted: Wanted) -> str:
    if any(item.placement.whole for item in tried) and wanted.min_tokens_per_s is not None:
        return f"No precision that fits reaches {wanted.min_tokens_per_s:g} tokens/s."
    if all(item.placement.available_bytes is None for item in tried):
        return "The device's memory is not known: --ram or --memory says it."
    context = tried[0].workload.context_tokens
    return f"No precision fits whole at a context of {context:,} tokens."
