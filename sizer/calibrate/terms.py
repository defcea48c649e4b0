"""What is fitted: each term's prior, the groups that may move it, and how far they usually do.

A spread is the standard deviation (of the logarithm) that is expected among groups of that level: ridge penalties are
its inverse square, so an effect of few rows stays near zero and the factor near that of the wider groups. The spreads
lie in `data/fit_priors.csv`; `sizer.calibrate.tune_priors` estimates them.
"""

from __future__ import annotations

from dataclasses import field

from sizer.frozen import dataclass
from sizer.tables import read_rows


@dataclass(frozen=True, slots=True)
class TermPrior:
    """A term's usual log-factor, the spread of each level of groups, and the term whose effects it shares."""

    base: float
    spreads: dict[str, float] = field(default_factory=dict)
    parent: str = ""


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
