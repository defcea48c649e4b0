"""Fits what servers under load add to the law of speed: log-corrections of terms by group, shrunk toward none.

A simulation counts how many steps of which kind lie between a request's arrival, its first token and its end. With
those counts held, both times are sums of a few steps, whose terms the corrections weigh: a robust least-squares fit of
their logarithms. Other corrections change the counts, so simulating and fitting take turns: two of them. A
third runs away: counts under load answer more than in proportion to the times that it would fit to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from sizer.calibrate.load_cases import LoadCase, simulated_means
from sizer.calibrate.workers import in_order
from sizer.frozen import dataclass
from sizer.serving.benchmark import Means
from sizer.serving.corrections import COLD, DRAFTED, LEVELS, REQUEST, REQUEST_S, STREAMED, Corrections
from sizer.serving.curves import BATCHES, DEPTHS, PROMPTS, Curve
from sizer.serving.term_curves import ATTENTION_TERM, EXPERT_TERMS, TermCurves
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY

TURNS, STEPS, FIRST_STEPS = 2, 12, 4
"""Simulations with a fit each, the second with what the first found; Gauss-Newton steps of a fit, and those of them
that hear far points too."""
SCALES = {"tpot": 0.12, "ttft": 0.35}
"""Residuals that count as one deviation: what the points' own repeats differ by, about."""
FAR = 3.0
"""Deviations from which a point soon says nothing. A benchmark that ran otherwise than its row tells (23 points of one
table decode five to ten times slower than their own neighbours) taught a card that was left out three times the time
for its weights: held out it erred by 16 %, and by 14 % so."""
SPREADS = {"all": 0.5, "engine": 0.03, "generation": 0.03, "split": 0.1, "model": 0.05, "engine model": 0.1}
"""How far a group's log-correction is expected to lie from none; other levels have none.

What a model's own kernels do is its own: with levels of kernels, kinds and releases (0.05 to 0.2) a model that was left
out errs by 16 to 18 % in its time per token, without them by 13 %, and a fifth of the cases by 8 and 9 %.
Twice the spreads of models, and of all together, leave a card that was left out at 12 to 14 % instead of 11.
"""
LAUNCH_SPREAD = 0.2
"""Of all launches together: captured graphs hide them from load tests, and eager steps are too few to tell them."""
OWN_SPREADS = {"all": 3.0, "engine": 1.0, "version": 0.1, "engine model": 0.5}
"""The same for a server's own terms, which know of no card and no kernel."""
SENDING_SPREADS = {"all": 0.3, "engine": 1.0, "engine split": 0.7, "version": 0.1, "engine model": 0.4}
"""The same for the steps until tokens are sent: how often a server sends is its own, and says nothing of another's.

TensorRT-LLM holds a prompt back with data-parallel attention until other ranks have one too, or for some iterations
(`attention_dp_config`: enable_balance, batching_wait_iters).
"""
DRAFTED_SPREADS = {"all": 0.5, "engine": 0.5, "engine model": 0.2}
"""The same for what a drafter leaves of the time per token."""
COLD_SPREADS = {"all": 2.0}
"""The same for the seconds that a cold start adds to the mean first token."""
OWN_TERMS = (REQUEST, STREAMED, DRAFTED, COLD)
NARROW_LEVELS = frozenset({"version", "model", "engine model"})
NARROW_TERMS = frozenset(
    {
        "weights",
        "experts",
        "compute",
        "layers",
        "sequences",
        "prefill_compute",
        "prefill_experts",
        "prefill_layers",
        *OWN_TERMS,
    }
)
"""The terms that a single model's or release's ways show in; giving these levels to all terms only costs time."""
SQUARED = (MEMORY, COMPUTE, LAUNCH)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Nominal amounts of one kind of step, a row a point and a column a term, and the fixed overheads they share."""

    amounts: Any
    shared: Any


class LoadFit:
    """The least-squares problem of some cases; `solve` gives the corrections."""

    def __init__(
        self,
        cases: Sequence[LoadCase],
        spreads: Mapping[str, float] = SPREADS,
        own_spreads: Mapping[str, float] = OWN_SPREADS,
    ) -> None:
        import numpy as np

        self.np, self.cases, self.spreads, self.own_spreads = np, list(cases), spreads, own_spreads
        self.law_terms = sorted({term for case in cases for term in case.curves})
        self.terms = [*self.law_terms, *OWN_TERMS]
        self.parts = {term: case.curves[term].part for case in cases for term in case.curves}
        self.base = np.array([[self._base(case, term) for term in self.terms] for case in cases])
        floors = [[self._floor(case, term) for term in self.terms] for case in cases]
        self.floors = np.minimum(np.array(floors), self.base)
        self.groups = [
            sorted({case.names[level] for case in cases if case.names[level].partition(": ")[2]}) for level in LEVELS
        ]
        self.cold = np.array([float(case.point.script.cold) for case in cases])
        self.told_steps = np.array([case.waited_steps for case in cases])
        self.columns: list[tuple[str, str, float]] = []
        """Term, group and prior spread of each correction."""
        self.design: list[tuple[Any, Any]] = []
        """For each term the columns that are its own, and which cases (rows) each of them counts for."""
        for term in self.terms:
            self._add_columns(term)

    def _add_columns(self, term: str) -> None:
        """A correction for each group of a term's levels that has a case with the term."""
        np, first, rows = self.np, len(self.columns), []
        present = [set(case.names.values()) if self._has(case, term) else set() for case in self.cases]
        for level, groups in zip(LEVELS, self.groups, strict=True):
            spread = self._prior(term, level)
            for group in groups if spread else ():
                column = [1.0 if group in names else 0.0 for names in present]
                if any(column):
                    rows.append(column)
                    self.columns.append((term, group, spread))
        matrix = np.array(rows).T if rows else np.zeros((len(self.cases), 0))
        self.design.append((slice(first, len(self.columns)), matrix))

    @staticmethod
    def _has(case: LoadCase, term: str) -> bool:
        """Whether a case has a term to fit: of a drafter and of a cold start only where there was one."""
        told = {DRAFTED: case.point.script.drafted, COLD: case.point.script.cold}
        return bool(told.get(term, term in case.curves or term in OWN_TERMS))

    def _base(self, case: LoadCase, term: str) -> float:
        if term in OWN_TERMS:
            return log(case.drafted) if term == DRAFTED else 0.0
        weight = case.law_weights.get(term, 0.0)
        return log(weight) if weight > 0 else -50.0

    def _floor(self, case: LoadCase, term: str) -> float:
        floor = case.floors.get(term, 0.0)
        return log(floor) if floor > 0 else -60.0

    def _prior(self, term: str, level: str) -> float:
        if level in NARROW_LEVELS and term not in NARROW_TERMS:
            return 0.0
        spreads = {
            REQUEST: self.own_spreads,
            STREAMED: SENDING_SPREADS,
            DRAFTED: DRAFTED_SPREADS,
            COLD: COLD_SPREADS,
        }.get(term, self.spreads)
        return LAUNCH_SPREAD if (term, level) == ("launch", "all") else spreads.get(level, 0.0)

    def observed(self, seen: Sequence[Means]) -> None:
        """Take the counts of a simulation of each case."""
        np = self.np
        self.waited = np.array([one.waited for one in seen])
        self.decoded = np.array([one.decoded for one in seen])
        self.tpot = np.log([case.point.tpot_s for case in self.cases])
        self.ttft = np.log([case.point.ttft_s for case in self.cases])
        outputs = np.array([max(1.0, case.point.load.output_tokens - 1) for case in self.cases])
        self.decoded = self.decoded / outputs[:, None]
        together = self.waited + self.decoded * outputs[:, None]
        steps = np.maximum(together[:, 0], 1e-9)
        tokens, attention, beside = together[:, 1] / steps, together[:, 2] / steps, together[:, 3] / steps
        own = np.maximum(self.waited[:, 0], 1e-9)
        self.wait_steps = self._mixed(self.waited[:, 1] / own, self.waited[:, 2] / own, beside)
        self.mixed_steps = self._mixed(tokens, attention, beside)
        self.alone_steps = self._alone([max(1.0, one.decoding) for one in seen])

    def _alone(self, decodes: Sequence[float]) -> _Steps:
        np = self.np
        amounts = np.zeros((len(self.cases), len(self.terms)))
        for row, (case, count) in enumerate(zip(self.cases, decodes, strict=True)):
            batch, depth = count * case.decode_share, case.point.load.mean_depth
            for column, term in enumerate(self.terms):
                curves = case.curves.get(term)
                if curves is not None and curves.by_batch:
                    amounts[row, column] = _decode_nominal(curves, batch, depth)
        return _Steps(amounts, np.zeros_like(amounts))

    def _mixed(self, tokens: Any, attention: Any, beside: Any) -> _Steps:
        np = self.np
        amounts = np.zeros((len(self.cases), len(self.terms)))
        shared = np.zeros_like(amounts)
        for row, case in enumerate(self.cases):
            share = 1 / case.served.layout.stages
            prompt, count, depth = tokens[row] * share, beside[row] * share, case.point.load.mean_depth
            law = self.attention_factor(case)
            for column, term in enumerate(self.terms):
                curves = case.curves.get(term)
                if curves is None:
                    continue
                amounts[row, column], shared[row, column] = _mixed_nominal(term, curves, count, depth, prompt)
                if term == ATTENTION_TERM:
                    amounts[row, column] = attention[row] * share / law
        return _Steps(amounts, shared)

    def attention_factor(self, case: LoadCase) -> float:
        """What the simulation weighed attention with, so that its seconds become nominal ones again."""
        return self.used.factor(ATTENTION_TERM, case.names) * case.law_weights.get(ATTENTION_TERM, 1.0) or 1.0

    used: Corrections = Corrections({}, {})

    def weights(self, theta: Any) -> Any:
        """Weights by case and term."""
        logs = self.base.copy()
        for index, (columns, matrix) in enumerate(self.design):
            if matrix.shape[1]:
                logs[:, index] += matrix @ theta[columns]
            logs[:, index] = self.np.maximum(logs[:, index], self.floors[:, index])
        return logs

    def times(self, logs: Any) -> tuple[Any, Any]:
        """Logarithms of TPOT and TTFT with these log-weights."""
        np = self.np
        weights = np.exp(np.clip(logs, -60, 30))
        alone = self._step(self.alone_steps, weights)
        mixed, waiting = self._step(self.mixed_steps, weights), self._step(self.wait_steps, weights)
        tpot = self.decoded[:, 0] * mixed + self.decoded[:, 4] * alone
        ttft = self.waited[:, 0] * waiting + self.waited[:, 4] * alone
        request, streamed, drafted, cold = weights[:, -len(OWN_TERMS) :].T
        ttft = ttft + REQUEST_S * request + alone * (self.told_steps + streamed) + self.cold * cold
        return np.log(tpot * drafted), np.log(ttft)

    def _step(self, steps: _Steps, weights: Any) -> Any:
        np = self.np
        weighed = steps.amounts * weights
        total = np.zeros(len(self.cases))
        overhead = np.zeros(len(self.cases))
        for part in (*SQUARED, "overhead"):
            chosen = [index for index, term in enumerate(self.law_terms) if self.parts[term] == part]
            seconds = weighed[:, chosen].sum(axis=1)
            if part in SQUARED:
                total += seconds**2
            else:
                overhead = seconds
        common = steps.shared * weights
        own = [index for index, term in enumerate(self.law_terms) if not term.startswith("prefill")]
        prompts = [index for index, term in enumerate(self.law_terms) if term.startswith("prefill")]
        fixed = np.minimum(common[:, own].sum(axis=1), common[:, prompts].sum(axis=1))
        return np.sqrt(total) + overhead - fixed

    def solve(self, theta: Any = None, rows: Any = None) -> Any:
        """Damped Gauss-Newton with Huber weights over some rows (all by default)."""
        np = self.np
        theta = np.zeros(len(self.columns)) if theta is None else theta.copy()
        chosen = np.arange(len(self.cases)) if rows is None else np.asarray(rows)
        prior = np.array([1 / spread**2 for _, _, spread in self.columns])
        for step in range(STEPS):
            logs = self.weights(theta)
            tpot, ttft = self.times(logs)
            jacobians = self._jacobians(logs, tpot, ttft, chosen)
            hessian, gradient = np.diag(prior), -prior * theta
            for predicted, measured, scale, jacobian in (
                (tpot, self.tpot, SCALES["tpot"], jacobians[0]),
                (ttft, self.ttft, SCALES["ttft"], jacobians[1]),
            ):
                residual = (measured - predicted)[chosen] / scale
                robust = 1 / np.maximum(1.0, np.abs(residual))
                if step >= FIRST_STEPS:
                    robust = robust / (1 + (residual / FAR) ** 2)
                scaled = jacobian / scale
                hessian = hessian + scaled.T @ (scaled * robust[:, None])
                gradient = gradient + scaled.T @ (residual * robust)
            moved = np.linalg.solve(hessian, gradient)
            theta = theta + moved * min(1.0, 1.0 / max(1e-9, np.abs(moved).max()))
        return theta

    def _jacobians(self, logs: Any, tpot: Any, ttft: Any, chosen: Any) -> tuple[Any, Any]:
        np, nudge = self.np, 1e-4
        first = np.zeros((len(chosen), len(self.columns)))
        second = np.zeros_like(first)
        for index, (columns, matrix) in enumerate(self.design):
            if not matrix.shape[1]:
                continue
            moved = logs.copy()
            moved[:, index] += nudge
            after = self.times(moved)
            for target, before, now in ((first, tpot, after[0]), (second, ttft, after[1])):
                target[:, columns] = matrix[chosen] * ((now - before) / nudge)[chosen][:, None]
        return first, second

    def corrections(
        self, theta: Any, spreads: Mapping[str, Mapping[str, tuple[float, float]]] | None = None
    ) -> Corrections:
        """The corrections of a solution, to five decimals."""
        effects: dict[str, dict[str, float]] = {term: {} for term in OWN_TERMS}
        for (term, group, _), value in zip(self.columns, theta, strict=True):
            effects.setdefault(term, {})[group] = round(float(value), 5)
        return Corrections(effects, dict(spreads or {}))


def _decode_nominal(curves: TermCurves, batch: float, depth: float) -> float:
    deep = Curve(DEPTHS, curves.by_depth)(depth) if curves.by_depth else 0.0
    return Curve(BATCHES, curves.by_batch)(batch) + batch * deep


def _mixed_nominal(term: str, curves: TermCurves, batch: float, depth: float, prompt: float) -> tuple[float, float]:
    """Nominal seconds of a term in a step of both, and how much of it is the fixed overhead that the two share."""
    decoding = batch > 0
    found = shared = 0.0
    if curves.by_batch and decoding:
        found = _decode_nominal(curves, batch, depth)
        if term in EXPERT_TERMS and curves.part == MEMORY:
            found = Curve(BATCHES, curves.by_batch)(batch + prompt)
        if curves.part == "overhead":
            shared = curves.by_batch[0]
    if any(curves.by_prompt) and not (decoding and curves.part in {MEMORY, LAUNCH}):
        found += Curve(PROMPTS, curves.by_prompt)(prompt)
        if curves.part == "overhead" and decoding:
            shared = curves.by_prompt[0]
    return found, shared


def fit(cases: Sequence[LoadCase], seen: Sequence[Means]) -> tuple[LoadFit, Any]:
    """The fit of all cases, from a first simulation's counts. Returns the problem and its solution."""
    problem = LoadFit(cases)
    theta = None
    for turn in range(TURNS):
        problem.observed(seen)
        theta = problem.solve(theta)
        if turn + 1 < TURNS:
            problem.used = problem.corrections(theta)
            seen = simulate_all(cases, problem.used)
    return problem, theta


def simulate_all(cases: Sequence[LoadCase], known: Corrections, most: int | None = None) -> list[Means]:
    """The means of every case, by at most `most` copies of this process; points measured more than once are simulated
    once."""
    keys = [case.simulated_by for case in cases]
    once = dict(zip(keys, cases, strict=True))
    done = dict(zip(once, in_order(lambda case: simulated_means(case, known), list(once.values()), most), strict=True))
    return [done[key] for key in keys]
