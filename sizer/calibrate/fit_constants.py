"""Fits the constants of the law of speed: robust, shrunk, and the same for the same rows.

The residual is the logarithm of predicted over measured time. The loss is Huber's, so that a bad row pulls no more
than linearly. Effects of groups are penalised by the spread expected of them (`terms`). The steps are Gauss-Newton's on
the exact Jacobian, damped by Levenberg's rule. A row of weight 0 is held out: groups that only such rows have
stay at their prior, as they would for a case that nobody measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sizer.calibrate.observations import Observation
from sizer.calibrate.terms import TermPrior
from sizer.speed.law import (
    OVERHEAD,
    OVERLAPPING,
    ROOFLINE_POWER,
    Constants,
    Term,
    combine,
    constants_name,
    parts_of,
)
from sizer.tuning import tuned

BASE_SPREAD = 0.7
STEPS = 60
LARGEST_STEP = 0.7
SOLVER_TOLERANCE = 5e-4
ENOUGH_GAIN = 1e-4
"""A step that lowers the objective by less than this share of it is the last."""

PARTS = (*OVERLAPPING, OVERHEAD)


class Parameter(NamedTuple):
    """One fitted number: the base of a term (`name` empty), or the effect of a group on it."""

    term: str
    level: str
    name: str


class Design:
    """Rows as sparse matrices: which parameters move which term of which row."""

    def __init__(self, rows: Sequence[Observation], priors: Mapping[str, TermPrior]) -> None:
        import numpy as np
        from scipy import sparse

        self.priors = priors
        self.index: dict[Parameter, int] = {}
        entries: dict[str, tuple[list[int], list[int], list[float]]] = {term: ([], [], []) for term in priors}
        self.amounts = {term: np.zeros(len(rows)) for term in priors}
        self.least = {term: np.zeros(len(rows)) for term in priors}
        self.part = dict.fromkeys(priors, OVERHEAD)
        for number, row in enumerate(rows):
            for amount in row.amounts:
                term = constants_name(amount.term, row.owners, priors)
                if term not in priors or amount.nominal_s <= 0:
                    continue
                self.amounts[term][number] += amount.nominal_s
                self.least[term][number] += amount.least_s
                self.part[term] = amount.part
                for parameter in self._parameters(term, row):
                    at = self.index.setdefault(parameter, len(self.index))
                    numbers, columns, values = entries[term]
                    numbers.append(number)
                    columns.append(at)
                    values.append(1.0)
        shape = (len(rows), len(self.index))
        self.matrices = {
            term: sparse.csr_matrix((values, (numbers, columns)), shape=shape)
            for term, (numbers, columns, values) in entries.items()
        }

    def _parameters(self, term: str, row: Observation) -> list[Parameter]:
        prior = self.priors[term]
        found = [Parameter(term, "", "")]
        found += [Parameter(term, level, row.groups[level]) for level in prior.spreads if level in row.groups]
        return found + (self._parameters(prior.parent, row) if prior.parent else [])

    def times(self, theta: Any) -> tuple[dict[str, Any], Any, Any, Any]:
        """Seconds by term, the three parts, the roofline of memory and compute, and the whole step, of every row."""
        import numpy as np

        size = len(next(iter(self.amounts.values())))
        parts = {name: np.zeros(size) for name in PARTS}
        by_term = {}
        for term, matrix in self.matrices.items():
            by_term[term] = np.maximum(self.amounts[term] * np.exp(np.clip(matrix @ theta, -30, 30)), self.least[term])
            parts[self.part[term]] += by_term[term]
        largest = np.maximum(np.max([parts[name] for name in OVERLAPPING], axis=0), 1e-30)
        powers = sum((parts[name] / largest) ** ROOFLINE_POWER for name in OVERLAPPING)
        roof = largest * powers ** (1 / ROOFLINE_POWER)
        return by_term, parts, roof, roof + parts[OVERHEAD]

    def jacobian(self, by_term: Mapping[str, Any], parts: Any, roof: Any, total: Any) -> Any:
        """Derivative of the logarithm of each row's time by each parameter."""
        import numpy as np
        from scipy import sparse

        slopes = {name: (parts[name] / np.maximum(roof, 1e-30)) ** (ROOFLINE_POWER - 1) for name in OVERLAPPING}
        result = None
        for term, matrix in self.matrices.items():
            slope = by_term[term] / total * slopes.get(self.part[term], 1.0)
            weighed = sparse.diags(slope) @ matrix
            result = weighed if result is None else result + weighed
        return result


def residual_spread(quantity: str) -> float:
    """How far a good row lies from the law: the larger, the more effects shrink."""
    return tuned(f"residual_spread_{quantity}")


class Fitter:
    """The rows of one quantity, ready to be fitted, whole or with some of them held out."""

    def __init__(self, rows: Sequence[Observation], priors: Mapping[str, TermPrior]) -> None:
        import numpy as np

        self.rows = rows
        self.priors = priors
        self.design = Design(rows, priors)
        self.weights = np.array([row.weight for row in rows])
        self.measured = np.log([row.seconds for row in rows])
        self.center, self.penalty = _prior_arrays(self.design, residual_spread(rows[0].quantity))
        self.bound = tuned("huber_bound")

    def solve(self, held_out: Any = None) -> Any:
        """All parameters, fitted to the rows that are not held out.

        The steps start at the prior, never at another fit: a start that knew the rows held out would not forget them.
        """
        import numpy as np

        weights = self.weights if held_out is None else np.where(held_out, 0.0, self.weights)
        theta, damping = self.center.copy(), 1e-3
        value, times, residual = self._evaluate(theta, weights)
        for _ in range(STEPS):
            jacobian = self.design.jacobian(*times).tocsr()
            robust = weights * np.minimum(1, self.bound / np.maximum(np.abs(residual), 1e-9))
            slope = jacobian.T @ (robust * residual) + self.penalty * (theta - self.center)
            for _attempt in range(6):
                step = _newton_step(jacobian, robust, self.penalty, slope, damping)
                tried = theta - np.clip(step, -LARGEST_STEP, LARGEST_STEP)
                result = self._evaluate(tried, weights)
                if result[0] < value:
                    break
                damping *= 6
            else:
                return theta
            gain = value - result[0]
            theta, damping = tried, max(damping / 6, 1e-6)
            value, times, residual = result
            if gain < ENOUGH_GAIN * value:
                break
        return theta

    def _evaluate(self, theta: Any, weights: Any) -> tuple[float, Any, Any]:
        """The objective, the times by term and the residuals."""
        import numpy as np

        times = self.design.times(theta)
        residual = np.log(times[3]) - self.measured
        size = np.abs(residual)
        loss = np.where(size < self.bound, residual**2, 2 * self.bound * size - self.bound**2)
        objective = (weights * loss).sum() + (self.penalty * (theta - self.center) ** 2).sum()
        return float(objective), times, residual

    def seconds(self, theta: Any) -> Any:
        """The predicted time of every row."""
        return self.design.times(theta)[3]

    def terms(self, theta: Any) -> dict[str, Term]:
        """The fitted constants by term."""
        effects: dict[str, dict[str, float]] = {term: {} for term in self.priors}
        bases = {term: prior.base for term, prior in self.priors.items()}
        for parameter, at in self.design.index.items():
            if parameter.name:
                effects[parameter.term][parameter.name] = float(theta[at])
            else:
                bases[parameter.term] = float(theta[at])
        return {term: Term(bases[term], effects[term], prior.parent) for term, prior in self.priors.items()}


def fit_terms(rows: Sequence[Observation], priors: Mapping[str, TermPrior]) -> dict[str, Term]:
    """The constants of one quantity's terms; without rows, what is expected of them (`terms`)."""
    if not rows:
        return {term: Term(prior.base, {}, prior.parent) for term, prior in priors.items()}
    fitter = Fitter(rows, priors)
    return fitter.terms(fitter.solve())


def _newton_step(jacobian: Any, robust: Any, penalty: Any, slope: Any, damping: float) -> Any:
    """Solves (J' W J + penalty + damping) step = slope by conjugate gradients, without forming the matrix."""
    from scipy.sparse.linalg import LinearOperator, cg

    squares = jacobian.multiply(jacobian).T @ robust
    ridge = penalty + damping * (squares + penalty)
    diagonal = squares + ridge
    shape = (len(penalty), len(penalty))
    curvature = LinearOperator(shape, matvec=lambda x: jacobian.T @ (robust * (jacobian @ x)) + ridge * x, dtype=float)
    inverse = LinearOperator(shape, matvec=lambda x: x / diagonal, dtype=float)
    return cg(curvature, slope, rtol=SOLVER_TOLERANCE, maxiter=300, M=inverse)[0]


def _prior_arrays(design: Design, residual_spread: float) -> tuple[Any, Any]:
    import numpy as np

    center, penalty = np.zeros(len(design.index)), np.zeros(len(design.index))
    for parameter, at in design.index.items():
        prior = design.priors[parameter.term]
        if not parameter.name:
            center[at] = prior.base
        penalty[at] = (residual_spread / (prior.spreads[parameter.level] if parameter.name else BASE_SPREAD)) ** 2
    return center, penalty


def predicted_seconds(row: Observation, fitted: Constants) -> float:
    """The time that constants predict for a row."""
    names = tuple(row.groups.values())
    terms = [(amount, amount.weighed_s(fitted.factor(amount.term, names, row.owners))) for amount in row.amounts]
    return combine(parts_of(terms))
