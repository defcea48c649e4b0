"""The widths of intervals: how far held-out rows usually lie, and the ends that hold nine of ten of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, log
from typing import Any

from sizer.calibrate.heldout import Residual
from sizer.speed.predict import OTHER_ENGINES
from sizer.speed.widths import Asked, Width, widest
from sizer.tuning import tuned

ENOUGH_TO_STRETCH = 90
"""Held-out residuals (30 rows, each left out in three ways) that an engine needs for a stretch of its own."""

COVERAGE = 0.9
"""The share of rows that an interval is to hold."""
LEAST_BOUND = 0.01
"""No interval ends nearer than one per cent, either way."""
TOLD_FROM = 0.03
"""Distances are told from here up: a row that happens to lie on its prediction tells no narrower an interval."""
FAR = 1.5
"""Distances count up to this (a factor of 4.5): what lies beyond is wrong in another way, and would widen all."""


def groups_of(one: Residual) -> tuple[str, ...]:
    """The groups that a residual's width follows."""
    row = one.row
    backend, era, bits = (row.groups[level].partition(": ")[2] for level in ("backend", "era", "bits"))
    return Asked(one.evidence, one.nearest, one.kernel_rows, row.engine, backend, era, row.family, bits, row.moe).groups


class Distances:
    """Residuals as sums over groups, so that the width without a fold's rows is a difference of sums."""

    def __init__(self, residuals: Sequence[Residual]) -> None:
        import numpy as np

        self.residuals = residuals
        self.index: dict[str, int] = {}
        rows = [
            [0] + [self.index.setdefault(name, len(self.index) + 1) for name in groups_of(one)] for one in residuals
        ]
        size = len(self.index) + 1
        self.design = np.zeros((len(rows), size))
        for number, columns in enumerate(rows):
            self.design[number, columns] = 1.0
        ratios = np.array([one.log_ratio for one in residuals])
        self.ratios = ratios
        self.target = np.log(np.minimum(FAR, np.abs(ratios)) + TOLD_FROM)
        self.squares = self.design.T @ self.design + np.diag([0.0] + [tuned("width_shrink")] * (size - 1))
        self.slopes = self.design.T @ self.target

    def effects(self, without: Any = None) -> Any:
        """Base and effects by least squares, each effect shrunken; without the rows of a mask."""
        import numpy as np

        if without is None:
            return np.linalg.solve(self.squares, self.slopes)
        design, target = self.design[without], self.target[without]
        return np.linalg.solve(self.squares - design.T @ design, self.slopes - design.T @ target)

    def ends(self, effects: Any, without: Any = None) -> tuple[float, float]:
        """The ends that hold `COVERAGE` of the distances in units of the usual one; without the rows of a mask.

        0 lies between them, so that stretching widens them on both sides.
        """
        import numpy as np

        units = self.ratios / np.exp(self.design @ effects)
        low, high = conformal_bounds((units if without is None else units[~without]).tolist())
        return min(low, -LEAST_BOUND), max(high, LEAST_BOUND)

    def width(self) -> Width:
        """The width that all residuals set."""
        found = self.effects()
        low, high = self.ends(found)
        named = {name: round(float(found[at]), 4) for name, at in self.index.items()}
        return Width(round(float(found[0]), 4), dict(sorted(named.items())), round(low, 4), round(high, 4))


def conformal_bounds(log_ratios: Sequence[float], share: float = COVERAGE) -> tuple[float, float]:
    """Bounds that hold `share` of rows like these: split conformal, the ranks of each tail rounded outward."""
    ordered = sorted(log_ratios)
    tail = round((1 - share) / 2 * (len(ordered) + 1), 6)
    low = max(0, int(tail) - 1)
    high = min(len(ordered) - 1, ceil(len(ordered) + 1 - tail) - 1)
    return float(ordered[low]), float(ordered[high])


class Judged(dict[str, list[tuple[float, float]]]):
    """By scheme, each residual's needed stretch and the span (high less low) of its interval before any stretch."""


def judged(by_scheme: Mapping[str, Sequence[Residual]]) -> Judged:
    """How many times the interval that its own fold had no part in must be stretched to hold each residual.

    Rows that are left out together share a device, a model or a source, and err alike: an interval that they had helped
    to set would hold them too easily. A row's residuals in the other schemes are left out as well.
    """
    import numpy as np

    distances = Distances([one for residuals in by_scheme.values() for one in residuals])
    ids = np.array([one.row.id for one in distances.residuals])
    found, start = Judged(), 0
    for scheme, residuals in by_scheme.items():
        stretches = [(0.0, 0.0)] * len(residuals)
        for fold in sorted({one.fold for one in residuals}):
            members = [at for at, one in enumerate(residuals) if one.fold == fold]
            without = np.isin(ids, [residuals[at].row.id for at in members])
            if without.all():  # rows of one name: only those of this fold are left out
                without = np.isin(np.arange(len(ids)), [start + at for at in members])
            if without.all():
                continue
            effects = distances.effects(without)
            low, high = distances.ends(effects, without)
            for at in members:
                unit = exp(float(distances.design[start + at] @ effects))
                ratio = residuals[at].log_ratio
                stretches[at] = (max(ratio / (unit * high), ratio / (unit * low)), unit * (high - low))
        found[scheme] = stretches
        start += len(residuals)
    return found


def stretch_by_engine(
    by_scheme: Mapping[str, Sequence[Residual]], needed: Judged | None = None
) -> dict[str, tuple[float, int]]:
    """The stretch that holds `COVERAGE` of each engine's residuals, and their number; engines with few share one.

    That of few residuals is drawn to that of all: it counts as `width_pool` of theirs (`data/tuning.csv`, by quantity).
    """
    needed = needed if needed is not None else judged(by_scheme)
    engines: dict[str, list[float]] = {}
    for scheme, residuals in by_scheme.items():
        for one, (stretch, _) in zip(residuals, needed[scheme], strict=True):
            engines.setdefault(one.row.engine, []).append(stretch)
    groups: dict[str, list[float]] = {OTHER_ENGINES: []}
    for engine, found in sorted(engines.items()):
        groups.setdefault(engine if len(found) >= ENOUGH_TO_STRETCH else OTHER_ENGINES, []).extend(found)
    quantity = next((one.row.quantity for residuals in by_scheme.values() for one in residuals), "decode")
    pool, shared = tuned(f"width_pool_{quantity}"), _holding([one for found in groups.values() for one in found])
    return {name: (_pooled(_holding(found), len(found), shared, pool), len(found)) for name, found in groups.items()}


def _pooled(own: float, n: int, shared: float, pool: float) -> float:
    """The geometric mean of a stretch of `n` residuals and the shared one, which counts as `pool` of them."""
    if not pool or min(own, shared) <= 0:
        return own
    return exp((n * log(own) + pool * log(shared)) / (n + pool))


def held_in_bounds(by_scheme: Mapping[str, Sequence[Residual]]) -> dict[str, list[tuple[bool, float]]]:
    """Whether each residual lies in the interval of the other folds, stretched and bounded, and that one's width."""
    needed = judged(by_scheme)
    stretches = stretch_by_engine(by_scheme, needed)
    found = {}
    for scheme, residuals in by_scheme.items():
        found[scheme] = [_held(one, seen, stretches) for one, seen in zip(residuals, needed[scheme], strict=True)]
    return found


def _held(one: Residual, seen: tuple[float, float], stretches: Mapping[str, tuple[float, int]]) -> tuple[bool, float]:
    needed, span = seen
    stretch = stretches.get(one.row.engine, stretches[OTHER_ENGINES])[0]
    if span > 0:
        stretch = min(stretch, log(widest(one.row.quantity, enough_rows=one.row.engine in stretches)) / span)
    return needed <= stretch, exp(span * stretch)


def _holding(needed: Sequence[float]) -> float:
    """The smallest stretch that holds `COVERAGE` of the residuals, by the conformal rank; 1 for none."""
    ordered = sorted(needed)
    return ordered[min(len(ordered), ceil(COVERAGE * (len(ordered) + 1))) - 1] if ordered else 1.0


def widths(residuals: Iterable[Residual]) -> Width:
    """The width that residuals set."""
    return Distances(list(residuals)).width()
