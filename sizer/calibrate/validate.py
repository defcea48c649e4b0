"""Predicted against measured: errors by quantity, engine, device kind, dense and MoE, precision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sizer.calibrate.heldout import quantile
from sizer.calibrate.predictions import PredictedRow, Prediction
from sizer.calibrate.rows import ResolvedRow
from sizer.frozen import dataclass
from sizer.model.architecture import Basis

QUANTITIES = ("decode", "prefill", "memory")
SCHEMA_VERSION = 1

_GROUPINGS: Mapping[str, Callable[[ResolvedRow], str]] = {
    "engine": lambda row: row.engine,
    "device_kind": lambda row: row.target.device.kind,
    "moe": lambda row: "moe" if row.architecture.experts else "dense",
    "precision": lambda row: row.precision,
}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Errors of n predictions as fractions: median and 90th percentile of |error|, median signed error, coverage."""

    n: int
    median_ape: float | None
    p90_ape: float | None
    bias: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Validation:
    """A file's predictions, its skipped rows with their reasons, and the errors by quantity and by group of decode."""

    rows: int
    scored: int
    skipped: tuple[tuple[str, str], ...]
    by_quantity: Mapping[str, Accuracy]
    by: Mapping[str, Mapping[str, Accuracy]]
    predictions: tuple[Prediction, ...]
    known_by_size: tuple[str, ...] = ()
    """Scored rows whose model is known by its parameter counts or its name's size alone."""


def accuracy(predictions: Sequence[Prediction]) -> Accuracy:
    """The errors of predictions that have a measured figure; None where there is none."""
    if not predictions:
        return Accuracy(0, None, None, None, None)
    sizes = sorted(one.ape for one in predictions)
    signed = sorted(one.signed_error for one in predictions)
    bounded = [one for one in predictions if one.low is not None]
    coverage = sum(one.covered for one in bounded) / len(bounded) if bounded else None
    return Accuracy(len(sizes), quantile(sizes, 0.5), quantile(sizes, 0.9), quantile(signed, 0.5), coverage)


def validate(rows: Iterable[PredictedRow]) -> Validation:
    """The comparison of all rows."""
    skipped: list[tuple[str, str]] = []
    compared: list[Prediction] = []
    by_size: list[str] = []
    groups: dict[str, dict[str, list[Prediction]]] = {name: defaultdict(list) for name in _GROUPINGS}
    count = scored = 0
    for row in rows:
        count += 1
        measured = [one for one in row.predictions if one.measured]
        if not measured or row.resolved is None:
            skipped.append((row.measurement.id, row.reason or "no measured figure"))
            continue
        scored += 1
        compared += measured
        if row.resolved.architecture.basis is Basis.NAME:
            by_size.append(row.measurement.id)
        for name, key in _GROUPINGS.items():
            groups[name][key(row.resolved)] += [one for one in measured if one.quantity == "decode"]
    return Validation(
        rows=count,
        scored=scored,
        skipped=tuple(skipped),
        by_quantity={name: accuracy([one for one in compared if one.quantity == name]) for name in QUANTITIES},
        by={
            name: {key: accuracy(members) for key, members in sorted(found.items(), key=lambda item: -len(item[1]))}
            for name, found in groups.items()
        },
        predictions=tuple(compared),
        known_by_size=tuple(by_size),
    )


def as_json(result: Validation) -> dict[str, Any]:
    """The documented JSON of a validation. Ratios are fractions, memory is in GiB as its column is."""
    from sizer.units import GIB

    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "rows": result.rows, "scored": result.scored}
    document["skipped"] = [{"id": name, "reason": reason} for name, reason in result.skipped]
    document["known_by_size"] = list(result.known_by_size)
    for name, one in result.by_quantity.items():
        document[name] = _accuracy_json(one, with_coverage=name != "memory")
    document["by"] = {
        name: {key: _accuracy_json(one) for key, one in groups.items()} for name, groups in result.by.items()
    }
    document["predictions"] = [
        {
            "id": one.id,
            "quantity": one.quantity,
            "measured": (one.measured or 0) / (GIB if one.quantity == "memory" else 1),
            "predicted": one.predicted / (GIB if one.quantity == "memory" else 1),
            "low": one.low,
            "high": one.high,
            "ape": one.ape,
        }
        for one in result.predictions
    ]
    return document


def _accuracy_json(one: Accuracy, with_coverage: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"n": one.n, "median_ape": one.median_ape, "p90_ape": one.p90_ape, "bias": one.bias}
    return {**found, "coverage": one.coverage} if with_coverage else found
