"""What measurements of one case differ by: the least error that any law of these columns could have.

A case is the engine, its backend, the device and how many, the model, the precision and the tokens a step; two rows of
it ask the same where their amounts (bytes, products and layers at nominal rates, and a request's prompt) agree to a
fiftieth. What still differs between them is told in no column: builds, drivers, clocks, power, owners.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import exp, log
from statistics import median

from sizer.calibrate.heldout import Residual
from sizer.calibrate.observation import Observation
from sizer.frozen import NamedTuple

SAME_AMOUNTS = 0.02
"""Two rows ask the same where the law's seconds of each part lie no further apart than this share."""


class Disagreement(NamedTuple):
    """One case that was measured at least twice: by two sources, or twice by one (`sources` is one name then).

    `apart` is how far the faster lies above the slower, as a share: the median over their rows that ask the same.
    """

    engine: str
    family: str
    sources: tuple[str, ...]
    apart: float


def disagreements(rows: Sequence[Observation]) -> list[Disagreement]:
    """Every pair of sources, and every source with itself, that measured a case more than once."""
    cases: dict[tuple[str, ...], list[Observation]] = defaultdict(list)
    for row in rows:
        if row.scored and row.traits is not None:
            traits = row.traits
            where, kernel, bits = (row.groups[level] for level in ("engine device", "kernel", "bits"))
            cases[where, traits.link, f"{traits.tokens:.3f}", row.model, kernel, bits].append(row)
    return [found for members in cases.values() for found in _of_case(members)]


def cards_told_twice(residuals: Sequence[Residual]) -> list[Disagreement]:
    """How far two sources of one engine on one device lie apart once the law told what differs between their rows.

    Each source's place is the median over its rows of measured over told, without what rows near them say.
    """
    cards: dict[str, dict[str, list[Residual]]] = defaultdict(lambda: defaultdict(list))
    for one in residuals:
        cards[one.row.groups["engine device"]][one.row.source].append(one)
    return [
        _between(of_source[one], of_source[other])
        for of_source in cards.values()
        for one, other in combinations(sorted(of_source), 2)
    ]


def _between(ours: Sequence[Residual], others: Sequence[Residual]) -> Disagreement:
    row = ours[0].row
    apart = abs(median(one.of_law for one in ours) - median(one.of_law for one in others))
    return Disagreement(row.engine, row.family, (row.source, others[0].row.source), exp(apart) - 1)


def _of_case(rows: Sequence[Observation]) -> Iterator[Disagreement]:
    ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one, other in combinations(sorted(rows, key=lambda row: (row.source, row.id)), 2):
        if _asks_the_same(one, other):
            ratios[tuple(dict.fromkeys((one.source, other.source)))].append(log(one.seconds / other.seconds))
    for sources, found in ratios.items():
        apart = median(found) if len(sources) == 2 else median(map(abs, found))
        yield Disagreement(rows[0].engine, rows[0].family, sources, exp(abs(apart)) - 1)


def _asks_the_same(one: Observation, other: Observation) -> bool:
    pairs = ((one.amounts, other.amounts), (one.before, other.before))
    sums = [[sum(amount.nominal_s for amount in amounts) for amounts in pair] for pair in pairs]
    return all(max(both) - min(both) <= SAME_AMOUNTS * max(both) for both in sums)
