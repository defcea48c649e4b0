"""How wide an interval is: the distance that rows like the case lie from their held-out predictions.

A case's usual distance is exp(base + the effects of its groups): how much of it was measured (of a dense model or of a
mixture, and on its family of devices), how alike the nearest row is, how many rows have its kernel, its engine (there
and everywhere), its runtime's year, backend, family, width of weights.
The 5th and the 95th percentile of held-out distances in units of the usual one are the ends, so that a few rows that
lie far out widen the ends of none. A group that nobody measured has the effect 0: that of the engines like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, log

from sizer.frozen import NamedTuple

WIDEST = {"decode": 6.0, "prefill": 8.0}
"""High over low at the most, by quantity: a wider one tells nobody anything. Of decode, for engines of enough rows."""
NEAREST_BINS = ((0.01, "none"), (0.2, "far"), (0.5, "apart"), (0.8, "near"))
"""How alike the nearest row must be for each word, up to the bound; beyond the last, `alike`."""
KERNEL_BINS = ((1, "none"), (4, "few"), (13, "some"))
"""How many rows of the kernel each word stands for, up to the bound; beyond the last, `many`."""


class Width(NamedTuple):
    """The fitted distance: logarithms of its base and of each group's effect, and the ends in units of it."""

    base: float
    effects: Mapping[str, float]
    low: float
    high: float

    def distance(self, groups: tuple[str, ...]) -> float:
        """The usual |log(measured / predicted)| of a case of these groups."""
        return exp(self.base + sum(self.effects.get(group, 0.0) for group in groups))

    def ends(self, groups: tuple[str, ...], stretch: float, widest: float = inf) -> tuple[float, float]:
        """Low and high logarithm of measured over predicted speed, a factor of `widest` apart at most."""
        unit = self.distance(groups) * stretch
        low, high = unit * self.low, unit * self.high
        span = log(widest)
        if high - low > span:
            low, high = low * span / (high - low), high * span / (high - low)
        return low, high


def widest(quantity: str, *, enough_rows: bool) -> float:
    """High over low at the most; `enough_rows` says whether the engine has a stretch of its own."""
    return WIDEST[quantity] if enough_rows or quantity == "prefill" else inf


class Asked(NamedTuple):
    """What the width of an interval follows: how much of the case was measured, how alike the nearest row is, how many
    rows there are of its kernel on its backend (`runtime backend`), its `runtime year`, and its classes."""

    evidence: str
    nearest: float
    kernel_rows: int
    engine: str
    backend: str
    era: str
    family: str
    bits: str
    moe: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups."""
        nearest = next((name for bound, name in NEAREST_BINS if self.nearest < bound), "alike")
        kernel = next((name for bound, name in KERNEL_BINS if self.kernel_rows < bound), "many")
        kind = "mixture" if self.moe else "dense"
        return (
            f"evidence: {self.evidence}",
            f"evidence: {self.evidence}, {kind}",
            f"evidence: {self.evidence}, {self.family}",
            f"nearest: {nearest}",
            f"kernel rows: {kernel}",
            f"engine: {self.engine}",
            f"engine: {self.engine}, {self.family}",
            f"backend: {self.backend}",
            f"era: {self.era}",
            f"family: {self.family}",
            f"bits: {self.bits}",
            kind,
        )
