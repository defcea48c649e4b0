"""What a user gets of a decision: typed records whose fields are the names of the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.advise.advice import Advice
from sizer.advise.draft import Draft
from sizer.advise.fitting_models import Found, first_screen
from sizer.advise.hardware import Fitting
from sizer.advise.licenses import license_of
from sizer.advise.recipes import engines_with_drafts, engines_with_recipes, recipe
from sizer.answer.document import Model, ModelEstimate, Recommendation, WorkloadAsked
from sizer.answer.measured import MeasuredRow
from sizer.answer.public import answer, model_estimate
from sizer.answer.records import Estimate
from sizer.device.usable import raising
from sizer.engine.model_classes import model_code
from sizer.engine.programs import programs
from sizer.frozen import dataclass
from sizer.model.architecture import Basis
from sizer.units import MIB


@dataclass(frozen=True, slots=True)
class WayOut:
    """Another way to run the model: what to change, in a sentence, and the estimate that results."""

    kind: str
    text: str
    estimate: ModelEstimate


@dataclass(frozen=True, slots=True)
class DraftGain:
    """What a draft model gains, with its own estimate; costs are relative to a plain step's time."""

    model: str
    pays: bool
    fits: bool
    draft_tokens: int
    acceptance: float
    break_even_acceptance: float | None
    verify_cost: float
    draft_cost: float
    round_cost: float
    tokens_per_step: float
    speedup: float
    tokens_per_s: float
    extra_bytes: int
    estimate: ModelEstimate


@dataclass(frozen=True, slots=True)
class Recommended:
    """What to run: the chosen estimate, its neighbours, other ways, the command; `estimates`: all that were tried."""

    schema_version: int
    model: Model
    workload: WorkloadAsked
    recommendation: Recommendation
    chosen_model: str
    estimate: ModelEstimate
    better: ModelEstimate | None
    cheaper: ModelEstimate | None
    alternatives: tuple[WayOut, ...]
    estimates: tuple[ModelEstimate, ...]
    draft: DraftGain | None
    command: str | None


@dataclass(frozen=True, slots=True)
class NothingRecommended:
    """The record of an advice that chose nothing: `Recommended`'s fields, null where they are of a choice."""

    schema_version: int
    model: Model
    workload: WorkloadAsked
    recommendation: Recommendation
    chosen_model: None
    estimate: None
    better: None
    cheaper: None
    alternatives: tuple[WayOut, ...]
    estimates: tuple[ModelEstimate, ...]
    draft: None
    command: None


@dataclass(frozen=True, slots=True)
class RunRow:
    """How one model runs somewhere. Bytes and tokens/s; None where it cannot be known. An encoder has `texts_per_s`.

    `code_unknown` says why nobody can tell whether the engine loads the model; None where it is known to.
    """

    total_params: int
    active_params: int
    engine: str
    precision: str
    total_bytes: int
    available_bytes: int | None
    fits: bool | None
    gpu_layers: int
    host_bytes: int
    max_context_tokens: int | None
    decode_tokens_per_s: float | None
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    texts_per_s: float | None
    code_unknown: str | None
    measured: tuple[MeasuredRow, ...]


@dataclass(frozen=True, slots=True)
class FitRow(RunRow):
    """One model of the catalogue that fits; `first_screen`: whether a person is shown it before the rest."""

    model: str
    license: str | None
    released: str | None
    rating: float | None
    kind: str
    command: str | None
    first_screen: bool


@dataclass(frozen=True, slots=True)
class HardwareRow(RunRow):
    """One device, count of it or cloud instance that runs the model as asked."""

    device: str
    count: int
    instance: str | None
    link: str | None
    memory_bytes: int
    price_usd_launch: float | None
    usd_per_hour: float | None
    usd_per_million_tokens: float | None
    price_source: str | None


def recommended(advice: Advice, draft: Draft | None = None) -> Recommended:
    """The public record of an advice that chose something."""
    assert advice.chosen is not None
    document = answer(advice.tried)
    return Recommended(
        schema_version=document.schema_version,
        model=document.model,
        workload=answer([advice.chosen]).workload,
        recommendation=Recommendation(advice.chosen.precision, advice.reason),
        chosen_model=advice.chosen.architecture.model_id,
        estimate=model_estimate(advice.chosen),
        better=model_estimate(advice.better) if advice.better else None,
        cheaper=model_estimate(advice.cheaper) if advice.cheaper else None,
        alternatives=_ways_out(advice),
        estimates=document.estimates,
        draft=draft_gain(draft) if draft else None,
        command=command_of(advice, draft),
    )


def nothing_recommended(advice: Advice) -> NothingRecommended:
    """The public record of an advice that chose nothing."""
    document = answer(advice.tried)
    return NothingRecommended(
        schema_version=document.schema_version,
        model=document.model,
        workload=document.workload,
        recommendation=Recommendation(None, advice.reason),
        chosen_model=None,
        estimate=None,
        better=None,
        cheaper=None,
        alternatives=_ways_out(advice),
        estimates=document.estimates,
        draft=None,
        command=None,
    )


def _ways_out(advice: Advice) -> tuple[WayOut, ...]:
    return tuple(WayOut(way.kind, way.text, model_estimate(way.estimate)) for way in advice.alternatives)


def draft_gain(draft: Draft) -> DraftGain:
    """The public record of a draft."""
    return DraftGain(
        model=draft.estimate.architecture.model_id,
        pays=draft.pays,
        fits=draft.fits,
        draft_tokens=draft.draft_tokens,
        acceptance=draft.acceptance,
        break_even_acceptance=draft.break_even_acceptance,
        verify_cost=draft.gain.verify_cost,
        draft_cost=draft.gain.draft_cost,
        round_cost=draft.gain.round_cost,
        tokens_per_step=draft.gain.tokens_per_step,
        speedup=draft.gain.speedup,
        tokens_per_s=draft.gain.tokens_per_s,
        extra_bytes=draft.extra_bytes,
        estimate=model_estimate(draft.estimate),
    )


def command_of(advice: Advice, draft: Draft | None = None) -> str | None:
    """What runs the advice, with the draft where it pays; None where there is no recipe for the engine."""
    chosen = advice.chosen
    if chosen is None or chosen.engine not in engines_with_recipes(chosen) or _names_nothing(chosen):
        return None
    pays = draft is not None and draft.pays and chosen.engine in engines_with_drafts()
    return _before(advice) + recipe(chosen, draft=draft if pays else None)


def _names_nothing(item: Estimate) -> bool:
    """Whether the model is a bare size, which nothing can be downloaded by."""
    return item.architecture.basis is Basis.NAME and "/" not in item.architecture.model_id


def _before(advice: Advice) -> str:
    """What must be typed before the recipe: that a Mac's GPU gets more memory, where the advice counts on it."""
    limit_bytes = advice.chosen.target.device.memory_limit_bytes if advice.chosen else None
    raised = any(way.kind == "raised limit" and way.estimate is advice.chosen for way in advice.alternatives)
    return f"{raising(limit_bytes // MIB)}\n" if raised and limit_bytes else ""


def first_command(item: Estimate, *, at_once: bool = False) -> str | None:
    """The first line that starts the engine: downloads and conversions before it are in the whole recipe.

    None where there is no recipe for the engine, or where it does not run `at_once`: something must be made before it.
    """
    if item.engine not in engines_with_recipes(item):
        return None
    written = recipe(item).splitlines()
    lines = [line for line in written if line.strip() and not line.startswith("#")]
    starts = tuple(" ".join(program.words) for program in programs() if program.kind == "program")
    command = next((line for line in lines if line.startswith(starts)), lines[0] if lines else None)
    return None if at_once and command != written[0] else command


def _run_fields(item: Estimate) -> dict[str, Any]:
    """The fields of `RunRow`."""
    public, model = model_estimate(item), item.architecture
    memory, decode = public.memory, public.decode
    return {
        "total_params": model.total_params,
        "active_params": model.active_params,
        "engine": item.engine,
        "precision": item.precision,
        "total_bytes": memory.total_bytes,
        "available_bytes": memory.available_bytes,
        "fits": memory.fits,
        "gpu_layers": memory.gpu_layers,
        "host_bytes": memory.host_bytes,
        "max_context_tokens": memory.max_context_tokens,
        "decode_tokens_per_s": decode.tokens_per_s if decode else None,
        "low_tokens_per_s": decode.low_tokens_per_s if decode else None,
        "high_tokens_per_s": decode.high_tokens_per_s if decode else None,
        "texts_per_s": public.prefill.texts_per_s,
        "code_unknown": model_code(model, item.engine, item.options).unknown or None,
        "measured": decode.measured if decode else (),
    }


def fit_row(found: Found, first: bool) -> FitRow:
    """The public record of a model that fits, and whether it stands on the first screen."""
    model_id = found.estimate.architecture.model_id
    return FitRow(
        **_run_fields(found.estimate),
        model=model_id,
        license=license_of(model_id),
        released=found.released or None,
        rating=found.rating.rating if found.rating else None,
        kind=found.kind,
        command=first_command(found.estimate),
        first_screen=first,
    )


def hardware_row(item: Fitting) -> HardwareRow:
    """The public record of a device that runs the model."""
    target = item.estimate.target
    return HardwareRow(
        **_run_fields(item.estimate),
        device=target.device.key,
        count=target.count,
        instance=item.rented or None,
        link=target.link or None,
        memory_bytes=item.memory_bytes,
        price_usd_launch=item.price_usd_launch,
        usd_per_hour=item.usd_per_hour,
        usd_per_million_tokens=item.usd_per_million_tokens,
        price_source=item.rent.words if item.rent else None,
    )


def fit_rows(found: Sequence[Found]) -> tuple[FitRow, ...]:
    """The public records of all models that fit."""
    first = {id(item) for item in first_screen(found)}
    return tuple(fit_row(item, id(item) in first) for item in found)


def hardware_rows(found: Sequence[Fitting]) -> tuple[HardwareRow, ...]:
    """The public records of all devices that run a model."""
    return tuple(map(hardware_row, found))
