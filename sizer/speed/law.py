"""The law of speed: how a step's amounts and the fitted constants become seconds. No fitted numbers live here.

    t = (memory^p + compute^p + launch^p)^(1/p) + overhead

`memory`, `compute`, `launch` (the host's work to issue the step, which runs ahead of the device) and `overhead` (what
nothing hides) are each a sum of terms. A term is an amount (seconds that a stage takes at the
device's nominal bandwidth or peak, or a count of layers times a unit of time) times a fitted factor,
exp(base + the effects of the groups that the case belongs to): an engine, a device family, a precision's kernel, or
pairs of them. A group that nobody measured has no effect, so the factor falls back to the wider groups. A term may have
a parent, whose effects it shares: experts are read like other weights, but for an effect of their own. Some cases own
constants of a term, which other rows do not move (`llama.cpp weights` beside `weights`): the constants' names tell
which. p = 2 has the lowest held-out error of 2, 3, 4 and 8: stages overlap, but not wholly.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from math import exp
from typing import Any

from sizer.frozen import NamedTuple, dataclass
from sizer.speed.widths import Width
from sizer.tables import read_json

ROOFLINE_POWER = 2.0
"""How parts that run beside each other add up: a step is longer than its longest part where another is nearly as long.
With the maximum (an endless power) it is too fast there, with the sum (1) too slow."""
MEMORY, COMPUTE, LAUNCH, OVERHEAD = "memory", "compute", "launch", "overhead"
OVERLAPPING = (MEMORY, COMPUTE, LAUNCH)
CONSTANTS_FILE = "constants.json"


class Amount(NamedTuple):
    """One term of a step: its name, which part of the step it belongs to, and its nominal seconds.

    `least_s` is what physics leaves it at the least: the bytes at the nominal rate of their memory or link.
    """

    term: str
    part: str
    nominal_s: float
    least_s: float = 0.0

    def weighed_s(self, factor: float) -> float:
        """Seconds with a fitted factor; a term that was never fitted (factor 0) is not counted."""
        return max(self.nominal_s * factor, self.least_s) if factor else 0.0


class Term(NamedTuple):
    """The fitted constants of one term: log-factors of its base and of each group, by name."""

    base: float
    effects: Mapping[str, float]
    parent: str = ""


@dataclass(frozen=True, eq=False)
class Constants:
    """All fitted constants: terms by name, how many fitted rows each group has, and held-out spreads.

    `widths` are by quantity how far held-out rows lie from their predictions (`widths`); `stretches`, by quantity and
    engine, how many times these must be wider to hold 90 % of the engine's rows where other rows set them.
    """

    terms: Mapping[str, Term]
    counts: Mapping[str, int]
    widths: Mapping[str, Width]
    stretches: Mapping[str, Mapping[str, float]]

    def factor(self, name: str, groups: Sequence[str], owners: Sequence[str] = ()) -> float:
        """The factor of a term; 0 where it was never fitted (the amount is then not counted)."""
        known = constants_name(name, owners, self.terms)
        return exp(self.log_factor(known, groups)) if known in self.terms else 0.0

    def log_factor(self, name: str, groups: Sequence[str]) -> float:
        """The logarithm of the factor of the constants of this name; 0 where there are none."""
        term = self.terms.get(name)
        if term is None:
            return 0.0
        total = term.base + sum(filter(None, map(term.effects.get, groups)))
        return total + (self.log_factor(term.parent, groups) if term.parent else 0.0)


class Factors(dict[str, float]):
    """The factors of the terms of cases of the same groups and owners, each worked out when it is first asked for."""

    def __init__(self, fitted: Constants, groups: Sequence[str], owners: Sequence[str]) -> None:
        super().__init__()
        self._of = fitted, groups, owners

    def __missing__(self, term: str) -> float:
        fitted, groups, owners = self._of
        factor = self[term] = fitted.factor(term, groups, owners)
        return factor


@lru_cache(maxsize=4096)
def factors(fitted: Constants, groups: tuple[str, ...], owners: tuple[str, ...]) -> Factors:
    """The factors of these constants for cases of these groups and owners."""
    return Factors(fitted, groups, owners)


def constants_name(term: str, owners: Sequence[str], known: Container[str]) -> str:
    """The constants that weigh a term: those of the first owner that has its own, else those of all."""
    for owner in owners:
        if (name := f"{owner} {term}") in known:
            return name
    return term


@cache
def constants() -> Constants:
    """The constants that `sizer calibrate` wrote to `data/constants.json`."""
    return constants_of(read_json(CONSTANTS_FILE))


def constants_of(document: Mapping[str, Any]) -> Constants:
    """The constants of a document in the format of `data/constants.json`."""
    terms = {
        name: Term(term["base"], {row[0]: row[1] for row in term["effects"]}, term.get("parent", ""))
        for name, term in document["terms"].items()
    }
    widths = {
        quantity: Width(row["base"], dict(row["effects"]), row["low"], row["high"])
        for quantity, row in document["widths"].items()
    }
    stretches = {
        quantity: {engine: stretch for engine, (stretch, _) in rows.items()}
        for quantity, rows in document["stretches"].items()
    }
    return Constants(terms, document["counts"], widths, stretches)


def combine(parts: Mapping[str, float]) -> float:
    """Seconds of a step out of the seconds of its parts."""
    largest = max(parts[name] for name in OVERLAPPING)
    if largest <= 0:
        return parts[OVERHEAD]
    rounded: float = largest * sum((parts[name] / largest) ** ROOFLINE_POWER for name in OVERLAPPING) ** (
        1 / ROOFLINE_POWER
    )
    return rounded + parts[OVERHEAD]


def parts_of(terms: Iterable[tuple[Amount, float]]) -> dict[str, float]:
    """Seconds of each part, out of the weighed seconds of terms."""
    parts = dict.fromkeys((*OVERLAPPING, OVERHEAD), 0.0)
    for amount, time_s in terms:
        parts[amount.part] += time_s
    return parts
