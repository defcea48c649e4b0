"""How wide an interval is: the distance that rows like the case lie from their held-out predictions.

A case's usual distance is exp(base + the effects of its groups): how much of it was measured, how many rows near it
spoke, its engine, family, width of weights, dense or mixture. The 5th and the 95th percentile of held-out distances in
units of the usual one are the ends, so that a few rows that lie far out widen the ends of none. A group that nobody
measured has the effect 0: that of the engines like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import NamedTuple

WIDEST = 6.0
"""High over low of decode at the most, for engines of enough rows: a wider one tells nobody anything."""
NEAR_BINS = ((1, "none"), (4, "few"), (13, "some"))


class Width(NamedTuple):
    """The fitted distance: logarithms of its base and of each group's effect, and the ends in units of it."""

    base: float
    effects: Mapping[str, float]
    low: float
    high: float

    def distance(self, groups: tuple[str, ...]) -> float:
        """The usual |log(measured / predicted)| of a case of these groups."""
        return exp(self.base + sum(self.effects.get(group, 0.0) for group in groups))

    def ends(self, groups: tuple[str, ...], stretch: float, bounded: bool) -> tuple[float, float]:
        """Low and high logarithm of measured over predicted speed; `bounded` ones span a factor of six at most."""
        unit = self.distance(groups) * stretch
        low, high = unit * self.low, unit * self.high
        span = log(WIDEST)
        if bounded and high - low > span:
            low, high = low * span / (high - low), high * span / (high - low)
        return low, high


class Asked(NamedTuple):
    """What the width of an interval follows: how much of the case was measured, rows near it, and its classes."""

    evidence: str
    near: int
    engine: str
    family: str
    bits: str
    moe: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups."""
        near_by = next((name for bound, name in NEAR_BINS if self.near < bound), "many")
        return (
            f"evidence: {self.evidence}",
            f"near: {near_by}",
            f"engine: {self.engine}",
            f"family: {self.family}",
            f"bits: {self.bits}",
            "mixture" if self.moe else "dense",
        )
