"""Rows as the fit sees them: which parameters move which term of which row, and how that moves the rows' times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

from sizer.calibrate.observation import Observation
from sizer.calibrate.terms import TermPrior
from sizer.frozen import NamedTuple
from sizer.speed.case import HOSTS, SINCE
from sizer.speed.law import OVERHEAD, OVERLAPPING, ROOFLINE_POWER, Constants, Term, constants_name

PARTS = (*OVERLAPPING, OVERHEAD)
STEPS = {"since": SINCE, "hosts": HOSTS}
"""Levels whose groups follow one another: a row has the steps of all before its own."""


class Parameter(NamedTuple):
    """One fitted number: the base of a term (`name` empty), or the effect of a group on it."""

    term: str
    level: str
    name: str


class Design:
    """Rows as cells: each is a term of a row, which the parameters of its pattern move.

    A few thousand patterns move all cells: `effects` has a row for each, and sums over cells are taken by pattern.

    A term whose parent belongs to another quantity (tiles' to the prompts) takes the parent's factor as it is known.
    """

    def __init__(self, rows: Sequence[Observation], priors: Mapping[str, TermPrior]) -> None:
        import numpy as np

        self.priors = priors
        self.index: dict[Parameter, int] = {}
        cells = _cells(rows, priors)
        self.size = len(rows)
        self.row = np.array([row for row, _ in cells], dtype=np.intp)
        self.amount_s = np.array([nominal_s for nominal_s, _, _ in cells.values()])
        self.least_s = np.array([least_s for _, least_s, _ in cells.values()])
        self.part = np.array([PARTS.index(part) for _, _, part in cells.values()], dtype=np.intp)
        self.known: Any = np.zeros(len(cells))
        self.borrowing = [
            (at, lender, tuple(rows[row].groups.values()))
            for at, (row, term) in enumerate(cells)
            if (lender := self._lender(term))
        ]
        patterns: dict[tuple[int, ...], int] = {}
        moving = (tuple(self._at(one) for one in self._parameters(term, rows[row])) for row, term in cells)
        self.pattern = np.array([patterns.setdefault(columns, len(patterns)) for columns in moving], dtype=np.intp)
        self.effects = _ones(list(patterns), len(self.index))

    def _at(self, parameter: Parameter) -> int:
        return self.index.setdefault(parameter, len(self.index))

    def _parameters(self, term: str, row: Observation) -> list[Parameter]:
        prior = self.priors[term]
        found = [Parameter(term, "", "")]
        found += [Parameter(term, level, name) for level in prior.spreads for name in _names(row.groups, level)]
        return found + (self._parameters(prior.parent, row) if prior.parent in self.priors else [])

    def _lender(self, term: str) -> str:
        """The term of another quantity that a term or one of its parents shares its effects with; empty where none."""
        parent = self.priors[term].parent
        return self._lender(parent) if parent in self.priors else parent

    def knowing(self, terms: Mapping[str, Term]) -> Design:
        """The same rows where another quantity's constants are known."""
        told, found = Constants(terms, {}, {}, {}), copy(self)
        found.known = self.known.copy()
        for at, lender, groups in self.borrowing:
            found.known[at] = told.log_factor(lender, groups)
        return found

    def times(self, theta: Any) -> Times:
        """Seconds of every cell and, by row, the parts, the roofline of memory and compute, and the whole step."""
        import numpy as np

        size = self.size
        factor = (self.effects @ theta)[self.pattern] + self.known
        cell_s = np.maximum(self.amount_s * np.exp(np.clip(factor, -30, 30)), self.least_s)
        parts = np.bincount(self.part * size + self.row, weights=cell_s, minlength=len(PARTS) * size)
        parts = parts.reshape(len(PARTS), size)
        overlapping, overhead = parts[: len(OVERLAPPING)], parts[len(OVERLAPPING)]
        largest = np.maximum(overlapping.max(axis=0), 1e-30)
        roof = largest * ((overlapping / largest) ** ROOFLINE_POWER).sum(axis=0) ** (1 / ROOFLINE_POWER)
        return Times(cell_s, parts, roof, roof + overhead)

    def slopes(self, times: Times) -> Any:
        """Derivative of the logarithm of each cell's row's time by the logarithm of the cell's."""
        import numpy as np

        shares = (times.parts / np.maximum(times.roof, 1e-30)) ** (ROOFLINE_POWER - 1)
        shares[len(OVERLAPPING)] = 1.0  # nothing hides overhead
        return times.cell_s / times.total[self.row] * shares[self.part, self.row]


def _names(groups: Mapping[str, str], level: str) -> list[str]:
    """A row's groups of a level: one at most, but of `since` one for each half-year from which its engine is, and of
    `hosts` one for each generation up to its card's."""
    return [groups[one] for one in STEPS.get(level, (level,)) if one in groups]


class Times(NamedTuple):
    """Seconds of every cell, and by row the seconds of each part, of what overlaps together, and of the whole step."""

    cell_s: Any
    parts: Any
    roof: Any
    total: Any


def _cells(
    rows: Sequence[Observation], priors: Mapping[str, TermPrior]
) -> dict[tuple[int, str], tuple[float, float, str]]:
    """By row and name of constants, the nominal and the least seconds, and the part of the step."""
    found: dict[tuple[int, str], tuple[float, float, str]] = {}
    for number, row in enumerate(rows):
        for amount in row.amounts:
            term = constants_name(amount.term, row.owners, priors)
            if term in priors and amount.nominal_s > 0:
                nominal_s, least_s, _ = found.get((number, term), (0.0, 0.0, ""))
                found[number, term] = (nominal_s + amount.nominal_s, least_s + amount.least_s, amount.part)
    return found


class Slopes:
    """The sparse matrix from patterns to rows, its places the same in every step: to the rows that were measured, not
    to those beside."""

    def __init__(self, design: Design, rows: Sequence[Observation]) -> None:
        import numpy as np

        told = [number for number, row in enumerate(rows) if row.against]
        measured = np.concatenate([np.arange(len(rows)), np.array(told, dtype=np.intp)])
        sign = np.concatenate([np.ones(len(rows)), -np.ones(len(told))])
        self.sign, self.shape = sign[design.row], (len(rows), design.effects.shape[0])
        keys = measured[design.row] * self.shape[1] + design.pattern
        unique, self.place = np.unique(keys, return_inverse=True)
        self.row_of, self.patterns = unique // self.shape[1], unique % self.shape[1]
        self.starts = np.searchsorted(self.row_of, np.arange(len(rows) + 1))

    def by_pattern(self, by_cell: Any, shares: Any) -> Any:
        """The derivative of the logarithm of each row's time, of which `shares` are the step's, by each pattern's."""
        import numpy as np
        from scipy import sparse

        values = np.bincount(self.place, weights=self.sign * by_cell, minlength=len(self.patterns))
        return sparse.csr_matrix((values * shares[self.row_of], self.patterns, self.starts), shape=self.shape)


def _ones(columns: Sequence[Sequence[int]], width: int) -> Any:
    """A sparse matrix with ones in these columns of each row."""
    import numpy as np
    from scipy import sparse

    starts = np.cumsum([0, *(len(each) for each in columns)])
    places = np.array([column for each in columns for column in each], dtype=np.intp)
    return sparse.csr_matrix((np.ones(len(places)), places, starts), shape=(len(columns), width))
