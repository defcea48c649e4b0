"""Composes a recommendation: the ladders' estimates, the choice, its neighbours, and ways out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from sizer.advise.alternatives import Alternative, alternatives, smaller_cache, smaller_model, split_pace
from sizer.advise.reasons import loss_text, reason
from sizer.advise.recommend import (
    SERVED_SEQUENCES,
    TOLERABLE_LOSS,
    USABLE_LOSS,
    Wanted,
    choose,
    is_native,
    neighbours,
    readable,
    waited_rate,
)
from sizer.advise.search import best_of, most_requantized_bytes
from sizer.answer.estimate import estimate
from sizer.answer.loss import loss_of
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.records import Target, is_cpu, shares_memory
from sizer.engine.engines import find_engine
from sizer.engine.ladders import ladders
from sizer.engine.model_classes import model_code
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.errors import UnknownEngine
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.workload import Workload

USUAL_CONTEXT_TOKENS = 8192
"""The context that a recommendation leaves room for unless asked otherwise, at most the model's own."""
MUCH_LOSS = 0.05
"""Beyond it lie the types of three bits: the four-bit ones lose 0.031 (Q4_K_M) to 0.045 (data/quality.csv)."""
SMALLER_IS_BETTER = " A smaller model at four bits answers better: {}."
FITTING = "'sizer fit' lists what runs here"
HOST_UNTOLD = " The host's memory is not told: with --ram (32GiB) what runs with a part there is counted too."


@dataclass(frozen=True, slots=True)
class Advice:
    """What to run. `chosen` is None where nothing runs; `tried` are the ladder's estimates, best quality first.

    `alternatives` are ways out where no precision of a tolerable loss fits whole; `chosen` is then one of them, or None
    where only a smaller model runs.
    """

    chosen: Estimate | None
    reason: str
    tried: tuple[Estimate, ...]
    better: Estimate | None = None
    cheaper: Estimate | None = None
    alternatives: tuple[Alternative, ...] = ()


def usual_workload(architecture: Architecture, workload: Workload, context_asked: int | str | None) -> Workload:
    """The workload with room for a usual context where none was asked for, for the model's own where `max` was."""
    if isinstance(context_asked, int):
        return workload
    longest = architecture.max_context_tokens or USUAL_CONTEXT_TOKENS
    wanted = longest if context_asked == "max" else min(USUAL_CONTEXT_TOKENS, longest)
    return replace(workload, context_tokens=max(workload.context_tokens, wanted))


def questions_for(
    architecture: Architecture,
    target: Target,
    workload: Workload,
    engine: str | None = None,
    options: EngineOptions | None = None,
) -> list[Question]:
    """One question for each rung of the device's first ladder."""
    return ladder_questions(architecture, target, workload, engine, options)[0]


def ladder_questions(
    architecture: Architecture,
    target: Target,
    workload: Workload,
    engine: str | None = None,
    options: EngineOptions | None = None,
) -> list[list[Question]]:
    """One question for each rung of each of the device's ladders, the usual ladder first."""
    return [
        [
            Question(architecture, target, rung.precision, workload, engine=rung.engine, options=options)
            for rung in rungs
        ]
        for rungs in ladders(architecture, target.device, engine, options)
    ]


def advise(
    questions: Sequence[Sequence[Question]],
    wanted: Wanted,
    smaller: Iterable[Architecture] = (),
    *,
    engine: str | None = None,
    context_asked: bool = False,
) -> Advice:
    """The advice for one model on one target, out of the questions of its ladders.

    A precision of the usual ladder that fits whole with a tolerable loss; else of another ladder; else the first way
    out that keeps the loss tolerable at the speed of reading, then the first that keeps it usable, then the first of
    all. `smaller` are models to fall back to, largest first, with `engine` where one was asked for. A context that was
    asked for is shortened only after splitting.
    """
    tolerable = replace(wanted, max_loss=min(TOLERABLE_LOSS, _limit(wanted)))
    tried: list[tuple[Estimate, ...]] = []
    flat: list[Question] = []
    for index, ladder in enumerate(questions):
        asked, found = worthwhile(ladder, [estimate(question) for question in ladder])
        tried.append(found)
        flat += asked
        chosen = choose(found, tolerable)
        if chosen is not None:
            return _that_fits(asked, found, chosen, wanted, tolerable)
        served = _served_by_cache(asked, tolerable) if index + 1 < len(questions) else None
        if served is not None:
            return Advice(
                served.estimate, f"{_why_nothing(found, wanted)} {served.text}", found, alternatives=(served,)
            )
    estimates = tuple(item for ladder in tried for item in ladder)
    ways = alternatives(flat, estimates, wanted, context_asked=context_asked)
    model = smaller_model(flat[0].architecture, smaller, _asker(flat[0], tolerable, engine))
    ways += [model] if model is not None else []
    untold = HOST_UNTOLD if _host_could_help(flat) else ""
    return _that_leads_out(estimates, ways, _why_nothing(estimates, wanted), untold)


def _that_leads_out(tried: tuple[Estimate, ...], ways: list[Alternative], why: str, untold: str) -> Advice:
    """The advice where nothing fits well: the best way out, before the others; `untold` is what could help besides."""
    best = _first_way(ways)
    if best is None:
        return Advice(None, why + untold, tried, alternatives=tuple(ways))
    ways.sort(key=lambda way: way is not best)
    text = f"{why} {best.text}"
    if loss_of(best.estimate) > USABLE_LOSS:
        smaller = [way.estimate.architecture.model_id for way in ways if way.kind == "smaller model"]
        text += SMALLER_IS_BETTER.format(*smaller or [FITTING])
    text += untold if loss_of(best.estimate) > TOLERABLE_LOSS else ""
    return Advice(best.estimate, text, tried, alternatives=tuple(ways))


def _host_could_help(questions: Sequence[Question]) -> bool:
    """Whether an engine of these would leave layers to a host of which nothing is known."""
    target = questions[0].target
    if target.host is not None or is_cpu(target.device) or shares_memory(target.device):
        return False
    return any(question.engine is not None and find_engine(question.engine).offload for question in questions)


def _that_fits(
    asked: Sequence[Question], found: tuple[Estimate, ...], chosen: Estimate, wanted: Wanted, tolerable: Wanted
) -> Advice:
    """The advice where a precision of a tolerable loss fits whole: it, or a much better one with a smaller cache."""
    eight_bits = _better_by_cache(asked, chosen, tolerable)
    if eight_bits is not None:
        kv = chosen.workload.kv_precision
        why = f"{eight_bits.text} With a cache in {kv} only {chosen.precision} fits ({loss_text(chosen)})."
        return Advice(eight_bits.estimate, why, found, cheaper=chosen)
    better, cheaper = neighbours(found, chosen, wanted)
    return Advice(chosen, reason(found, chosen, wanted), found, better, cheaper)


def _better_by_cache(questions: Sequence[Question], chosen: Estimate, wanted: Wanted) -> Alternative | None:
    """What a cache of eight bits lets fit instead of a much worse type: of half the loss, where that is not small."""
    if loss_of(chosen) <= MUCH_LOSS:
        return None
    way = smaller_cache(questions, wanted)
    return way if way is not None and loss_of(way.estimate) <= loss_of(chosen) / 2 else None


def _served_by_cache(questions: Sequence[Question], wanted: Wanted) -> Alternative | None:
    """For many sequences at once: the usual engine with a smaller cache, before one that is not made to serve."""
    many = questions[0].workload.batch_size >= SERVED_SEQUENCES
    return smaller_cache(questions, wanted) if many else None


def worthwhile(
    ladder: Sequence[Question], estimates: Sequence[Estimate]
) -> tuple[tuple[Question, ...], tuple[Estimate, ...]]:
    """A ladder and its estimates without those that quantize a quantized checkpoint anew and save under a tenth, or
    only pad its bits."""
    native = next((item for item in estimates if is_native(item)), None)
    most_bytes = most_requantized_bytes(
        estimates[0].architecture,
        estimates[0].engine,
        native.stored.weights_bytes if native else None,
        ((item.precision, item.stored.weights_bytes) for item in estimates),
    )
    if most_bytes is None:
        return tuple(ladder), tuple(estimates)
    kept = [index for index, item in enumerate(estimates) if item is native or item.stored.weights_bytes < most_bytes]
    return tuple(ladder[index] for index in kept), tuple(estimates[index] for index in kept)


def _limit(wanted: Wanted) -> float:
    return float("inf") if wanted.max_loss is None else wanted.max_loss


def _first_way(ways: Sequence[Alternative]) -> Alternative | None:
    """The way to run the model itself that is taken: by loss and speed, else the first; None where only others run."""
    own = [way for way in ways if way.kind != "smaller model"]
    for limit in (TOLERABLE_LOSS, USABLE_LOSS):
        for way in own:
            speed = split_pace(way.estimate) or waited_rate(way.estimate)
            if loss_of(way.estimate) <= limit and (speed is None or readable(speed)):
                return way
    return own[0] if own else None


def _asker(first: Question, wanted: Wanted, engine: str | None) -> Callable[[Architecture], Estimate | None]:
    """Asks for the best estimate of another model on the first question's target."""
    told = first.options or NO_OPTIONS

    def ask(candidate: Architecture) -> Estimate | None:
        longest = candidate.max_context_tokens
        if longest is not None and longest < first.workload.context_tokens:
            return None
        if engine is not None and not model_code(candidate, engine, told).certain:
            return None
        with suppress(UnknownEngine):  # no engine of the device has code for it
            for ladder in ladder_questions(candidate, first.target, first.workload, engine, first.options):
                chosen = best_of(ladder, wanted)
                if chosen is not None:
                    return chosen
        return None

    return ask


def _why_nothing(tried: Sequence[Estimate], wanted: Wanted) -> str:
    if all(item.placement.available_bytes is None for item in tried):
        return "The device's memory is not known: --ram or --memory says it."
    whole = [item for item in tried if item.placement.whole and loss_of(item) <= TOLERABLE_LOSS]
    if whole and wanted.min_tokens_per_s is not None:
        return f"No precision that fits reaches {wanted.min_tokens_per_s:g} tokens/s."
    context = tried[0].workload.context_tokens
    room = "with a little memory to spare " if whole else ""
    return f"No precision of a small loss fits whole {room}at a context of {context:,} tokens."
