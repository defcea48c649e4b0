"""Fits the constants of the law of speed: robust, shrunk, and the same for the same rows.

The residual is the logarithm of predicted over measured time. The loss is Huber's, so that a bad row pulls no more than
linearly; effects of groups are penalised by the spread expected of them (`terms`), and each source of rows has an offset
of its own that is fitted and then dropped: it is how that source measures, not how the device runs. Gauss-Newton steps
on the exact Jacobian with Levenberg's damping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sizer.calibrate.observations import Observation
from sizer.calibrate.terms import TermPrior
from sizer.estimate.speed_law import COMPUTE, MEMORY, ROOFLINE_POWER, Constants, Term

RESIDUAL_SPREAD = 0.1
HUBER_BOUND = 0.15
BASE_SPREAD = 0.7
SOURCE_SPREAD = 0.15
STEPS = 30
LARGEST_STEP = 0.7
ENOUGH_GAIN = 3e-4
"""A step that lowers the objective by less than this share of it is the last."""

PARTS = {MEMORY: 0, COMPUTE: 1}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One fitted number: the base of a term (`name` empty), or the effect of a group or covariate on it."""

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
        self.part = dict.fromkeys(priors, 2)
        for number, row in enumerate(rows):
            for amount in row.amounts:
                if amount.term not in priors or amount.nominal_s <= 0:
                    continue
                self.amounts[amount.term][number] += amount.nominal_s
                self.part[amount.term] = PARTS.get(amount.part, 2)
                for parameter, value in self._parameters(amount.term, row):
                    at = self.index.setdefault(parameter, len(self.index))
                    for cells, cell in zip(entries[amount.term], (number, at, value), strict=True):
                        cells.append(cell)  # type: ignore[arg-type]
        shape = (len(rows), len(self.index))
        self.matrices = {
            term: sparse.csr_matrix((values, (numbers, columns)), shape=shape)
            for term, (numbers, columns, values) in entries.items()
        }

    def _parameters(self, term: str, row: Observation) -> list[tuple[Parameter, float]]:
        prior = self.priors[term]
        found = [(Parameter(term, "", ""), 1.0)]
        for level in prior.spreads:
            if level in row.groups:
                found.append((Parameter(term, level, row.groups[level]), 1.0))
            elif level in row.covariates:
                found.append((Parameter(term, level, level), row.covariates[level]))
        return found + (self._parameters(prior.parent, row) if prior.parent else [])

    def times(self, theta: Any) -> tuple[dict[str, Any], Any, Any, Any]:
        """Seconds by term, the three parts, the roofline of memory and compute, and the whole step, of every row."""
        import numpy as np

        parts = np.zeros((3, len(next(iter(self.amounts.values())))))
        by_term = {}
        for term, matrix in self.matrices.items():
            by_term[term] = self.amounts[term] * np.exp(np.clip(matrix @ theta, -30, 30))
            parts[self.part[term]] += by_term[term]
        largest = np.maximum(np.maximum(parts[0], parts[1]), 1e-30)
        roof = largest * ((parts[0] / largest) ** ROOFLINE_POWER + (parts[1] / largest) ** ROOFLINE_POWER) ** (
            1 / ROOFLINE_POWER
        )
        return by_term, parts, roof, roof + parts[2]

    def jacobian(self, by_term: Mapping[str, Any], parts: Any, roof: Any, total: Any) -> Any:
        """Derivative of the logarithm of each row's time by each parameter."""
        import numpy as np
        from scipy import sparse

        slopes = [np.where(roof > 0, (part / np.maximum(roof, 1e-30)) ** (ROOFLINE_POWER - 1), 0) for part in parts[:2]]
        result = None
        for term, matrix in self.matrices.items():
            slope = by_term[term] / total * (slopes[self.part[term]] if self.part[term] < 2 else 1)
            weighed = sparse.diags(slope) @ matrix
            result = weighed if result is None else result + weighed
        return result


def fit_terms(rows: Sequence[Observation], priors: Mapping[str, TermPrior]) -> dict[str, Term]:
    """The constants of one quantity's terms."""
    import numpy as np
    from scipy import sparse

    rows = [row for row in rows if row.seconds > 0]
    design = Design(rows, priors)
    sources = {name: number for number, name in enumerate(sorted({f"{row.source} {row.engine}" for row in rows}))}
    columns = [sources[f"{row.source} {row.engine}"] for row in rows]
    offsets = sparse.csr_matrix((np.ones(len(rows)), (np.arange(len(rows)), columns)), shape=(len(rows), len(sources)))
    center, penalty = _prior_arrays(design, len(sources))
    solution = _minimise(design, offsets, rows, center, penalty)
    effects: dict[str, dict[str, float]] = {term: {} for term in priors}
    bases = {term: prior.base for term, prior in priors.items()}
    for parameter, at in design.index.items():
        if parameter.name:
            effects[parameter.term][parameter.name] = float(solution[at])
        else:
            bases[parameter.term] = float(solution[at])
    return {term: Term(bases[term], effects[term], prior.parent) for term, prior in priors.items()}


def _prior_arrays(design: Design, sources: int) -> tuple[Any, Any]:
    import numpy as np

    center = np.zeros(len(design.index) + sources)
    penalty = np.full(len(center), (RESIDUAL_SPREAD / SOURCE_SPREAD) ** 2)
    for parameter, at in design.index.items():
        prior = design.priors[parameter.term]
        if not parameter.name:
            center[at] = prior.base
        penalty[at] = (RESIDUAL_SPREAD / (prior.spreads[parameter.level] if parameter.name else BASE_SPREAD)) ** 2
    return center, penalty


def _minimise(design: Design, offsets: Any, rows: Sequence[Observation], center: Any, penalty: Any) -> Any:
    """Damped Gauss-Newton on the robust, penalised objective."""
    import numpy as np
    from scipy import linalg, sparse

    measured = np.log([row.seconds for row in rows])
    weights = np.array([row.weight for row in rows])
    split = len(design.index)

    def evaluate(theta: Any) -> tuple[float, Any, Any]:
        times = design.times(theta[:split])
        residual = np.log(times[3]) + offsets @ theta[split:] - measured
        size = np.abs(residual)
        loss = np.where(size < HUBER_BOUND, residual**2, 2 * HUBER_BOUND * size - HUBER_BOUND**2)
        return float((weights * loss).sum() + (penalty * (theta - center) ** 2).sum()), times, residual

    theta, damping = center.copy(), 1e-3
    value, times, residual = evaluate(theta)
    for _ in range(STEPS):
        jacobian = sparse.hstack([design.jacobian(*times), offsets]).tocsr()
        robust = weights * np.minimum(1, HUBER_BOUND / np.maximum(np.abs(residual), 1e-9))
        curvature = (jacobian.T @ (sparse.diags(robust) @ jacobian)).toarray()
        curvature[np.diag_indices_from(curvature)] += penalty
        slope = jacobian.T @ (robust * residual) + penalty * (theta - center)
        for _attempt in range(6):
            damped = curvature + damping * np.diag(np.diag(curvature))
            step = np.clip(linalg.solve(damped, slope, assume_a="pos"), -LARGEST_STEP, LARGEST_STEP)
            tried = evaluate(theta - step)
            if tried[0] < value:
                break
            damping *= 6
        else:
            return theta
        gain = value - tried[0]
        theta, damping = theta - step, max(damping / 6, 1e-6)
        value, times, residual = tried
        if gain < ENOUGH_GAIN * value:
            break
    return theta


def predicted_seconds(row: Observation, fitted: Constants) -> float:
    """The time that constants predict for a row."""
    from sizer.estimate.speed_law import combine

    parts = {MEMORY: 0.0, COMPUTE: 0.0, "overhead": 0.0}
    names = tuple(row.groups.values())
    for amount in row.amounts:
        parts[amount.part] += amount.nominal_s * fitted.factor(amount.term, names, row.covariates)
    return combine(parts[MEMORY], parts[COMPUTE], parts["overhead"])
