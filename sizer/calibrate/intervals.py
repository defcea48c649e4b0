"""The widths of intervals: conformal bounds of held-out residuals, stretched until they hold rows that set none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from sizer.calibrate.heldout import Residual
from sizer.speed.predict import EVIDENCE_LEVELS, OTHER_ENGINES, interval_keys

ENOUGH_ROWS = 40
"""Held-out residuals that a group needs for bounds of its own; with fewer it takes those of the next wider one."""

ENOUGH_TO_STRETCH = 90
"""Held-out residuals (30 rows, each left out in three ways) that an engine needs for a stretch of its own."""

COVERAGE = 0.9
LEAST_BOUND = 0.01

Bounds = Mapping[str, tuple[float, float, int]]
"""By group: the low and the high logarithm of measured over predicted speed, and the rows behind them."""


def conformal_bounds(log_ratios: Sequence[float], share: float = COVERAGE) -> tuple[float, float]:
    """Bounds that hold `share` of rows like these: split conformal, the ranks of each tail rounded outward."""
    ordered = sorted(log_ratios)
    tail = (1 - share) / 2 * (len(ordered) + 1)
    low = max(0, int(tail) - 1)
    high = min(len(ordered) - 1, ceil(len(ordered) + 1 - tail) - 1)
    return ordered[low], ordered[high]


def bounds_by_group(residuals: Iterable[Residual]) -> Bounds:
    """Bounds that hold `COVERAGE` of these residuals, by evidence and by what `interval_keys` adds where rows suffice.

    They always hold an error of 1 %, so that stretching can widen them on both sides.
    """
    groups: dict[str, list[float]] = {level: [] for level in EVIDENCE_LEVELS}
    everything = []
    for one in residuals:
        everything.append(one.log_ratio)
        for key in _keys(one):
            groups.setdefault(key, []).append(one.log_ratio)
    bounds = {}
    for name, found in groups.items():
        if len(found) >= ENOUGH_ROWS or name in EVIDENCE_LEVELS:
            low, high = conformal_bounds(found if len(found) >= ENOUGH_ROWS else everything)
            bounds[name] = (min(low, -LEAST_BOUND), max(high, LEAST_BOUND), len(found))
    return bounds


def needed_stretches(by_scheme: Mapping[str, Sequence[Residual]]) -> dict[str, list[float]]:
    """How many times the bounds that its own fold had no part in must be stretched to hold each residual.

    Rows that are left out together share a device, a model or a source, and err alike: bounds that they had helped to
    set would hold them too easily. A row's residuals in the other schemes are left out of its bounds as well.
    """
    everything = [one for residuals in by_scheme.values() for one in residuals]
    needed: dict[str, list[float]] = {}
    for scheme, residuals in by_scheme.items():
        bounds = {}
        for fold in {one.fold for one in residuals}:
            ids = {one.row.id for one in residuals if one.fold == fold}
            bounds[fold] = bounds_by_group(one for one in everything if one.row.id not in ids)
        needed[scheme] = [_needed(bounds[one.fold], one) for one in residuals]
    return needed


def stretch_by_engine(by_scheme: Mapping[str, Sequence[Residual]]) -> dict[str, tuple[float, int]]:
    """The stretch that holds `COVERAGE` of each engine's residuals, and their number; engines with few share one."""
    return _stretches(by_scheme, needed_stretches(by_scheme))


def _stretches(
    by_scheme: Mapping[str, Sequence[Residual]], needed: Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, int]]:
    engines: dict[str, list[float]] = {}
    for scheme, residuals in by_scheme.items():
        for one, stretch in zip(residuals, needed[scheme], strict=True):
            engines.setdefault(one.row.engine, []).append(stretch)
    groups: dict[str, list[float]] = {OTHER_ENGINES: []}
    for engine, found in sorted(engines.items()):
        groups.setdefault(engine if len(found) >= ENOUGH_TO_STRETCH else OTHER_ENGINES, []).extend(found)
    return {name: (_holding(found), len(found)) for name, found in groups.items()}


def held_in_bounds(by_scheme: Mapping[str, Sequence[Residual]]) -> dict[str, list[bool]]:
    """Whether each residual lies in the bounds of the other folds, stretched as its engine's are."""
    needed = needed_stretches(by_scheme)
    stretches = _stretches(by_scheme, needed)
    return {
        scheme: [
            stretch <= stretches.get(one.row.engine, stretches[OTHER_ENGINES])[0]
            for one, stretch in zip(residuals, needed[scheme], strict=True)
        ]
        for scheme, residuals in by_scheme.items()
    }


def _holding(needed: Sequence[float]) -> float:
    """The smallest stretch that holds `COVERAGE` of the residuals, by the conformal rank; 1 for none."""
    ordered = sorted(needed)
    return ordered[min(len(ordered), ceil(COVERAGE * (len(ordered) + 1))) - 1] if ordered else 1.0


def _needed(bounds: Bounds, one: Residual) -> float:
    low, high, _ = next(bounds[key] for key in _keys(one) if key in bounds)
    return max(one.log_ratio / high, one.log_ratio / low)


def _keys(one: Residual) -> tuple[str, ...]:
    return interval_keys(one.evidence, one.row.engine, one.row.family, one.row.moe)
