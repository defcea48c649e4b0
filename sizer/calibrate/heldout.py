"""Held-out errors: every row is predicted by constants that never saw its device, its model or its source."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import exp
from zlib import crc32

from sizer.calibrate.fit_constants import Fitter
from sizer.calibrate.likeness import Alike
from sizer.calibrate.observation import Observation
from sizer.calibrate.workers import in_order
from sizer.frozen import dataclass
from sizer.speed.predict import EVIDENCE_LEVELS

FOLDS = 12
DIVISIONS = 3
"""How many divisions into folds each row is left out in: of one alone, medians move by half a point with what happens
to be left out together."""
FEW = 500
"""Rows that are told sooner by one processor than several are set to work."""
_Told = tuple[int, float, str, float, int, float]
"""A row's number and its residual's figures."""
SCHEMES: dict[str, Callable[[Observation], str]] = {
    "device": lambda row: row.device,
    "model": lambda row: row.model,
    "source": lambda row: row.source,
}


@dataclass(frozen=True, slots=True)
class Residual:
    """A held-out row: the logarithm of measured over predicted speed, how much of it the fit knew, its fold, how
    alike the nearest row that spoke is, and how many rows the fit knew of its kernel on its backend. `of_law` is the
    ratio without what rows near it say."""

    row: Observation
    log_ratio: float
    evidence: str
    fold: int
    nearest: float = 0.0
    kernel_rows: int = 0
    of_law: float = 0.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of some rows: |predicted/measured - 1| as median and 90th percentile, and the median signed error."""

    n: int
    median_ape: float
    p90_ape: float
    bias: float


def folds(
    rows: Sequence[Observation], key: Callable[[Observation], str], count: int = FOLDS, division: int = 0
) -> list[set[str]]:
    """Groups of keys that are left out together, in `count` folds: those that tell least of each other.

    What a fold leaves out beside a row's own key costs the row evidence that it would have: two sources of one card are
    not left out together. A key goes where its rows lose the least share of their groups' other rows, those of many
    rows first, or in another order for each further division. The same rows give the same folds.
    """
    everything = ""
    total: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = {}
    for row in rows:
        shared = (everything, *_names(row))
        total.update(shared)
        parts.setdefault(key(row), Counter()).update(shared)
    bins: list[tuple[set[str], Counter[str]]] = [(set(), Counter()) for _ in range(min(count, len(parts)))]
    for name, part in sorted(parts.items(), key=lambda item: _turn(item[0], item[1][everything], division)):
        lost = [sum(n * held[group] / total[group] for group, n in part.items()) for _, held in bins]
        names, held = bins[lost.index(min(lost))]
        names.add(name)
        held.update(part)
    return [names for names, _ in bins]


def _turn(name: str, count: int, division: int) -> tuple[int, str]:
    """When a key of `count` rows is dealt to a fold: by its rows, or in a division's own order of names."""
    return (crc32(f"{division} {name}".encode()) if division else -count), name


def _names(row: Observation) -> tuple[str, ...]:
    """What rows may have in common with a row: its groups, its source, its model."""
    return (*row.groups.values(), f"source: {row.source}", f"model: {row.model}")


def held_out(fitter: Fitter, scheme: str, alike: Alike | None = None, divisions: int | None = None) -> list[Residual]:
    """Each row predicted by constants fitted without its group: those that are scored, and those apart.

    Of the divisions into folds (`DIVISIONS` unless told), that counts in which a row's error is the middle one.
    """
    found: dict[int, list[Residual]] = defaultdict(list)
    for number, one in _all_held_out(fitter, SCHEMES[scheme], alike or Alike(fitter.rows), divisions):
        found[number].append(one)
    return [sorted(each, key=lambda one: abs(one.log_ratio))[len(each) // 2] for each in found.values()]


def _all_held_out(
    fitter: Fitter, key: Callable[[Observation], str], alike: Alike, divisions: int | None = None
) -> Iterator[tuple[int, Residual]]:
    """Each row by its number, once for each division; no two divisions number a fold alike."""
    rows = fitter.rows
    divided = [names for division in range(divisions or DIVISIONS) for names in folds(rows, key, division=division)]
    without = in_order(lambda names: _without(fitter, key, names, alike), divided, None if len(rows) > FEW else 1)
    for fold, told in enumerate(without):
        for number, left, evidence, nearest, kernel_rows, of_law in told:
            yield number, Residual(rows[number], left, evidence, fold, nearest, kernel_rows, of_law)


def _without(fitter: Fitter, key: Callable[[Observation], str], names: set[str], alike: Alike) -> list[_Told]:
    """The rows of these keys, told by the others."""
    import numpy as np

    rows = fitter.rows
    held = np.array([key(row) in names for row in rows])
    known = fitter.without(_within(key, names))
    log_ratios = np.log(known.seconds(known.solve())) - fitter.measured
    seen = counts([row for row, out in zip(rows, held, strict=True) if not out])
    told = []
    for number, said in alike.corrections(log_ratios, held).items():
        row, of_law = rows[number], float(log_ratios[number])
        kernel_rows = seen.get(row.groups["backend kernel"], 0)
        told.append((number, of_law - said.log_factor, evidence_of(row, seen), said.nearest, kernel_rows, of_law))
    return told


def _within(key: Callable[[Observation], str], names: set[str]) -> Callable[[Observation], bool]:
    return lambda row: key(row) in names


def evidence_of(row: Observation, seen: Mapping[str, int]) -> str:
    """The narrowest group of a row that was seen."""
    return next((level for level in EVIDENCE_LEVELS[:-1] if seen.get(row.groups[level], 0)), "none")


def counts(rows: Sequence[Observation]) -> dict[str, int]:
    """How many rows each group has."""
    return dict(Counter(name for row in rows for name in row.groups.values()))


def errors(log_ratios: Sequence[float]) -> Errors:
    """The errors of rows given as logarithms of measured over predicted speed."""
    signed = sorted(exp(-ratio) - 1 for ratio in log_ratios)
    sizes = sorted(abs(value) for value in signed)
    return Errors(len(sizes), quantile(sizes, 0.5), quantile(sizes, 0.9), quantile(signed, 0.5))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of sorted values, between neighbours by proportion; 0 for none."""
    if not ordered:
        return 0.0
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
