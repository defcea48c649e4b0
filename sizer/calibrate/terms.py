"""What is fitted: each term's prior, the groups that may move it, and how far they usually do.

A spread is the standard deviation (of the logarithm) that is expected among groups of that level: ridge penalties are
its inverse square, so an effect of few rows stays near zero and the factor near that of the wider groups. The spreads
lie in `data/fit_priors.csv`; `sizer.calibrate.tune_priors` estimates them.
"""

from __future__ import annotations

from dataclasses import field

from sizer.frozen import dataclass
from sizer.tables import read_rows

BASE, BASE_SPREAD = "base", 0.7
"""A term's own constant as a level, and how far it may lie from its nominal one, as a logarithm, where no row tells
less: a factor of two either way is usual."""


@dataclass(frozen=True, slots=True)
class TermPrior:
    """A term's usual log-factor, the spread of each level of groups, and the term whose effects it shares.

    A level `base` is how far the usual factor itself may lie off.
    """

    base: float
    spreads: dict[str, float] = field(default_factory=dict)
    parent: str = ""

    @property
    def base_spread(self) -> float:
        """How far the usual factor may lie off: any factor of two, where no row tells less."""
        return self.spreads.get(BASE, BASE_SPREAD)


def read_priors() -> dict[str, dict[str, TermPrior]]:
    """The priors of `data/fit_priors.csv` by quantity and term."""
    found: dict[str, dict[str, TermPrior]] = {}
    for row in read_rows("fit_priors.csv"):
        terms = found.setdefault(row["quantity"], {})
        prior = terms.setdefault(row["term"], TermPrior(float(row["base"]), {}, row["parent"]))
        if row["level"]:
            prior.spreads[row["level"]] = float(row["spread"])
    return found


TERMS = read_priors()
