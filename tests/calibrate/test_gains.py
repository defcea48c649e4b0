"""What each part of the law gains (`tools/gains.py`): parts are the law's own, and leaving one out leaves the rest."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from sizer.calibrate.observation import Observation
from sizer.calibrate.terms import TERMS, TermPrior
from sizer.speed.law import COMPUTE, MEMORY, Amount
from sizer.tables import read_rows
from sizer.tuning import tuned

TOOL: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "gains.py"))


def test_parts_name_terms_levels_and_numbers_of_the_law() -> None:
    """Every term and level that is left out has a prior, every number a row of data/tuning.csv."""
    for part in read_rows("law_parts.csv"):
        priors, names = TERMS[part["quantity"]], part["names"]
        if part["kind"] == "terms":
            assert set(names.split()) <= set(priors)
        elif part["kind"] == "levels":
            assert set(names.split("|")) <= {level for prior in priors.values() for level in prior.spreads}
        elif part["kind"] == "numbers":
            assert any(tuned(one.partition("=")[0]) != float(one.partition("=")[2]) for one in names.split())
        else:
            assert (part["kind"], names) == ("nearby", "")


def test_a_part_is_left_out_alone() -> None:
    """Without a term its amounts are gone and others stay; without a level its spread is; the rest is as it was."""
    amounts = (Amount("weights", MEMORY, 1.0), Amount("cache", MEMORY, 0.5), Amount("compute", COMPUTE, 0.1))
    row = Observation("a", "decode", "s", "d", "m", "e", "f", False, 1.0, amounts, {})
    priors = {"weights": TermPrior(0.3, {"engine": 0.2, "era": 0.1})}
    (left,), same = TOOL["without"]([row], priors, "terms", "cache compute")
    assert (left.amounts, same) == (amounts[:1], priors)
    rows, fewer = TOOL["without"]([row], priors, "levels", "era|version")
    assert (rows, fewer["weights"].spreads) == ([row], {"engine": 0.2})
    assert TOOL["without"]([row], priors, "nearby", "") == ([row], priors)


def test_a_line_for_each_part() -> None:
    """The table holds the median and the 90th percentile of each scheme."""
    schemes, sizes = ("device", "model", "source"), {"median": "1%", "p90": "2%"}
    cells = {f"{scheme}_{what}": size for scheme in schemes for what, size in sizes.items()}
    text = TOOL["table"]([{"quantity": "prefill", "without": "tiles", **cells}])
    assert text.splitlines()[2] == "| prompts | tiles | 1%, 2% | 1%, 2% | 1%, 2% |"


class _Counting:
    """A fitter that counts how often it was solved: its constants are the rows that were not held out."""

    def __init__(self, rows: list[str], held: frozenset[str] = frozenset()) -> None:
        import numpy as np

        self.rows, self.solved = rows, [0]
        self.weights = np.array([row not in held for row in rows], dtype=float)

    def without(self, held_out: Any) -> _Counting:
        found = _Counting(self.rows, frozenset(filter(held_out, self.rows)))
        found.solved = self.solved
        return found

    def fitted(self) -> list[str]:
        self.solved[0] += 1
        return [row for row, weight in zip(self.rows, self.weights, strict=True) if weight]


def test_prompts_are_fitted_once_for_each_fold() -> None:
    """Another part of decode asks for the same prompts: remembered by what was held out."""
    fitter = _Counting(["a", "b", "c"])
    told = TOOL["Remembered"](fitter)
    assert told.without(lambda row: row == "a").fitted() == ["b", "c"]
    assert told.without(lambda row: row < "b").fitted() == ["b", "c"]
    assert fitter.solved == [1]
    assert told.without(lambda row: row == "b").fitted() == ["a", "c"]
    assert fitter.solved == [2]
