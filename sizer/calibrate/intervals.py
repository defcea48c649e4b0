"""The widths of intervals: conformal bounds of held-out residuals, and whether they hold rows that did not set them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from sizer.calibrate.heldout import Residual
from sizer.estimate.speed import EVIDENCE_LEVELS, interval_keys

ENOUGH_ROWS = 40
"""Held-out rows that a group needs for bounds of its own; with fewer it takes those of the next wider one."""

COVERAGE = 0.9
SHARES = tuple(share / 100 for share in range(90, 100))

Bounds = Mapping[str, tuple[float, float, int]]
"""By group: the low and the high logarithm of measured over predicted speed, and the rows behind them."""


def conformal_bounds(log_ratios: Sequence[float], share: float = COVERAGE) -> tuple[float, float]:
    """Bounds that hold `share` of rows like these: split conformal, the ranks of each tail rounded outward."""
    ordered = sorted(log_ratios)
    tail = (1 - share) / 2 * (len(ordered) + 1)
    low = max(0, int(tail) - 1)
    high = min(len(ordered) - 1, ceil(len(ordered) + 1 - tail) - 1)
    return ordered[low], ordered[high]


def bounds_by_group(residuals: Iterable[Residual], share: float) -> Bounds:
    """Bounds that hold `share` of these residuals: by evidence, and by what `interval_keys` adds where rows suffice."""
    groups: dict[str, list[float]] = {level: [] for level in EVIDENCE_LEVELS}
    everything = []
    for one in residuals:
        everything.append(one.log_ratio)
        for key in _keys(one):
            groups.setdefault(key, []).append(one.log_ratio)
    return {
        name: (*conformal_bounds(found if len(found) >= ENOUGH_ROWS else everything, share), len(found))
        for name, found in groups.items()
        if len(found) >= ENOUGH_ROWS or name in EVIDENCE_LEVELS
    }


def widening_share(by_scheme: Mapping[str, Sequence[Residual]]) -> float:
    """The share that bounds must hold of the rows that set them, to hold `COVERAGE` of folds that did not."""
    for share in SHARES:
        inside = [held for held_by_scheme in held_in_bounds(by_scheme, share).values() for held in held_by_scheme]
        if sum(inside) >= COVERAGE * len(inside):
            return share
    return SHARES[-1]


def held_in_bounds(by_scheme: Mapping[str, Sequence[Residual]], share: float) -> dict[str, list[bool]]:
    """Whether each residual lies in bounds that its own fold had no part in: neither it nor the rows beside it.

    Rows that are left out together share a device, a model or a source, and err alike: bounds that they had helped to
    set would hold them too easily. A row's residuals in the other schemes are left out of its bounds as well.
    """
    everything = [one for residuals in by_scheme.values() for one in residuals]
    inside: dict[str, list[bool]] = {}
    for scheme, residuals in by_scheme.items():
        bounds = {}
        for fold in {one.fold for one in residuals}:
            ids = {one.row.id for one in residuals if one.fold == fold}
            bounds[fold] = bounds_by_group((one for one in everything if one.row.id not in ids), share)
        inside[scheme] = [_holds(bounds[one.fold], one) for one in residuals]
    return inside


def _holds(bounds: Bounds, one: Residual) -> bool:
    low, high, _ = next(bounds[key] for key in _keys(one) if key in bounds)
    return low <= one.log_ratio <= high


def _keys(one: Residual) -> tuple[str, ...]:
    return interval_keys(one.evidence, one.row.engine, one.row.family, one.row.moe)
