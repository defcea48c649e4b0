"""Spreads of effects by level, estimated from the fit itself (empirical Bayes): how `data/fit_priors.csv` was made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import sqrt
from typing import Any

from sizer.calibrate.design import Parameter
from sizer.calibrate.fit_constants import Fitter, residual_spread
from sizer.calibrate.terms import TermPrior

NARROWEST, WIDEST = 0.01, 2.5
"""Spreads of effects: narrower is none at all, wider is free."""


def refined(fitter: Fitter, theta: Any, priors: Mapping[str, TermPrior]) -> dict[str, TermPrior]:
    """The priors with each level's spread replaced by the root mean square of its effects, each with its variance.

    The variance of an effect is that of its posterior, taken one parameter at a time: 1 / (curvature + 1 / spread²).
    """
    import numpy as np

    times = fitter.design.times(theta)
    jacobian = fitter.jacobian(times)
    residual = np.abs(np.log(fitter.seconds(theta)) - fitter.measured)
    weights = fitter.weights * np.minimum(1, fitter.bound / np.maximum(residual, 1e-9))
    curvature = (jacobian.multiply(jacobian).T @ weights) / residual_spread(fitter.rows[0].quantity) ** 2
    squares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for parameter, at in fitter.design.index.items():
        if parameter.name:
            squares[parameter.term, parameter.level].append(_square(parameter, theta[at], curvature[at], priors))
    return {
        term: TermPrior(
            prior.base,
            {level: _clipped(squares.get((term, level)), spread) for level, spread in prior.spreads.items()},
            prior.parent,
        )
        for term, prior in priors.items()
    }


def _square(parameter: Parameter, effect: float, curvature: float, priors: Mapping[str, TermPrior]) -> float:
    spread = priors[parameter.term].spreads[parameter.level]
    return float(effect**2 + 1 / (curvature + 1 / spread**2))


def _clipped(squares: list[float] | None, spread: float) -> float:
    if not squares:
        return spread
    return min(WIDEST, max(NARROWEST, sqrt(sum(squares) / len(squares))))
