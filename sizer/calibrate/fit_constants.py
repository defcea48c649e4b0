"""Fits the constants of the law of speed: robust, shrunk, and the same for the same rows.

The residual is the logarithm of predicted over measured time. The loss is Huber's, so that a bad row pulls no more
than linearly; a prompt that was slower than told less than one that was faster: other work and throttling slow a device
down, and nothing makes one faster than it is. Effects of groups are penalised by the spread expected of them
(`terms`). The steps are Gauss-Newton's on the exact Jacobian, damped by Levenberg's rule. A row of weight 0 is held
out: groups that only such rows have stay at their prior, as they would for a case that nobody measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from typing import Any

from sizer.calibrate.curvature import Curvature
from sizer.calibrate.design import Design, Slopes, Times
from sizer.calibrate.observation import Observation
from sizer.calibrate.terms import TERMS, TermPrior
from sizer.speed.law import Constants, Term, combine, constants, parts_of
from sizer.tuning import tuned

STEPS = 200
"""Newton steps at the most, and how far one may move a logarithm: beyond, the slope is another's."""
LARGEST_STEP = 0.7
ENOUGH_GAIN = 1e-6
"""A step that lowers the objective by less than this share of it is the last: with 1e-4 the fit stopped on a plateau
halfway, and constants hung on where it began."""
LEAST_DAMPING = 1e-3
"""With less, one step in two overshoots and is taken back."""

LENDING = "prefill"
"""The quantity whose constants others may share: a step of many tokens runs the prompt's kernels."""


def residual_spread(quantity: str) -> float:
    """How far a good row lies from the law: the larger, the more effects shrink."""
    return tuned(f"residual_spread_{quantity}")


class Fitter:
    """The rows of one quantity, ready to be fitted, whole or with some of them held out.

    `prompts` are the rows of prompts, for a quantity with terms that share theirs: they are fitted first, to the rows
    that are not held out either. Without any, the constants of this version are shared.
    """

    def __init__(
        self, rows: Sequence[Observation], priors: Mapping[str, TermPrior], prompts: Fitter | None = None
    ) -> None:
        import numpy as np

        self.rows = rows
        self.priors = priors
        self.prompts = prompts
        beside = [replace(row, amounts=row.against) for row in rows if row.against]
        self.design = Design([*rows, *beside], priors)
        self.slopes, self.over = Slopes(self.design, rows), _over(rows, len(beside))
        self._know(constants().terms if prompts is None else prompts.fitted())
        self.weights = np.array([row.weight for row in rows])
        self.measured = np.log([row.seconds for row in rows])
        self.center, self.penalty = _prior_arrays(self.design, residual_spread(rows[0].quantity))
        self.start: Any = None
        self.bound = tuned("huber_bound")
        self.slow_share = tuned(f"slow_rows_{rows[0].quantity}")

    def without(self, held_out: Callable[[Observation], bool]) -> Fitter:
        """The same with some rows held out: they pull at nothing."""
        import numpy as np

        found = copy(self)
        found.weights = np.where([held_out(row) for row in self.rows], 0.0, self.weights)
        if self.prompts is not None:
            found.prompts = self.prompts.without(held_out)
            found._know(found.prompts.fitted())
        return found

    def _know(self, terms: Mapping[str, Term]) -> None:
        """Take the constants of prompts: what steps share of them, and what a request's prompt takes of its time."""
        import numpy as np

        self.design = self.design.knowing(terms)
        factor = cache(Constants(terms, {}, {}, {}).factor)  # a source's requests share their groups
        self.before_s = np.array([before_s(row, factor) for row in self.rows])

    def solve(self) -> Any:
        """All parameters, fitted to the rows that are not held out.

        The steps start at the prior, never at a fit to other rows: a start that knew the rows held out would not forget
        them. `start` may be one to the same rows.
        """
        import numpy as np

        weights = self.weights
        theta, damping = (self.center if self.start is None else self.start).copy(), LEAST_DAMPING
        value, times, residual = self._evaluate(theta, weights)
        for _ in range(STEPS):
            moved, effects = self._by_pattern(times), self.design.effects
            robust = weights * np.minimum(1, self._bounds(residual) / np.maximum(np.abs(residual), 1e-9))
            slope = effects.T @ (moved.T @ (robust * residual)) + self.penalty * (theta - self.center)
            curvature = Curvature(moved, effects, robust, self.penalty)
            for _attempt in range(6):
                step = curvature.step(slope, damping)
                tried = theta - np.clip(step, -LARGEST_STEP, LARGEST_STEP)
                result = self._evaluate(tried, weights)
                if result[0] < value:
                    break
                damping *= 6
            else:
                return theta
            gain = value - result[0]
            theta, damping = tried, max(damping / 6, LEAST_DAMPING)
            value, times, residual = result
            if gain < ENOUGH_GAIN * value:
                break
        return theta

    def _evaluate(self, theta: Any, weights: Any) -> tuple[float, Times, Any]:
        """The objective, the times and the residuals."""
        import numpy as np

        times = self.design.times(theta)
        residual = np.log(self._seconds(times)) - self.measured
        size, bound = np.abs(residual), self._bounds(residual)
        loss = np.where(size < bound, residual**2, 2 * bound * size - bound**2)
        objective = (weights * loss).sum() + (self.penalty * (theta - self.center) ** 2).sum()
        return float(objective), times, residual

    def _bounds(self, residual: Any) -> Any:
        """From where on each row pulls no more: nearer for one that took longer than told."""
        import numpy as np

        return np.where(residual < 0, self.bound * self.slow_share, self.bound)

    def fitted(self) -> dict[str, Term]:
        """The constants, solved."""
        return self.terms(self.solve())

    def seconds(self, theta: Any) -> Any:
        """The predicted time of every row: a request's with its prompt's by output token, or over that of the step that
        it is told against."""
        return self._seconds(self.design.times(theta))

    def _seconds(self, times: Times) -> Any:
        import numpy as np

        return np.exp(self.over @ np.log(times.total)) + self.before_s

    def jacobian(self, times: Times) -> Any:
        """Derivative of the logarithm of each row's time by each parameter; no parameter moves a prompt."""
        return self._by_pattern(times) @ self.design.effects

    def _by_pattern(self, times: Times) -> Any:
        """The same by each pattern of parameters: one that a pattern holds moves its rows as it does."""
        shares = 1 - self.before_s / self._seconds(times)
        return self.slopes.by_pattern(self.design.slopes(times), shares)

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


def _over(rows: Sequence[Observation], beside: int) -> Any:
    """The matrix from the logarithms of all times, those `beside` the rows' own last, to those that rows measured."""
    from scipy import sparse

    told = [number for number, row in enumerate(rows) if row.against]
    values = [1.0] * len(rows) + [-1.0] * beside
    across = [*range(len(rows)), *told]
    return sparse.csr_matrix((values, (across, range(len(rows) + beside))), shape=(len(rows), len(rows) + beside))


def fitters(rows: Sequence[Observation]) -> dict[str, Fitter]:
    """The rows of each quantity that has some, ready to be fitted: prompts first, which lend to decode's terms."""
    found: dict[str, Fitter] = {}
    for quantity in sorted(TERMS, key=lambda name: name != LENDING):
        own = [row for row in rows if row.quantity == quantity]
        if own:
            found[quantity] = Fitter(own, TERMS[quantity], found.get(LENDING))
    return found


def _prior_arrays(design: Design, residual_spread: float) -> tuple[Any, Any]:
    import numpy as np

    center, penalty = np.zeros(len(design.index)), np.zeros(len(design.index))
    for parameter, at in design.index.items():
        prior = design.priors[parameter.term]
        if not parameter.name:
            center[at] = prior.base
        spread = prior.spreads[parameter.level] if parameter.name else prior.base_spread
        penalty[at] = (residual_spread / spread) ** 2
    return center, penalty


def before_s(row: Observation, factor: Callable[[str, tuple[str, ...], tuple[str, ...]], float]) -> float:
    """Seconds of prompts for each token of a row's request, by the factor of each term; 0 of rows without one."""
    if not row.before:
        return 0.0
    names = tuple(row.groups.values())
    terms = [(amount, amount.weighed_s(factor(amount.term, names, row.owners))) for amount in row.before]
    return combine(parts_of(terms)) / row.outputs
