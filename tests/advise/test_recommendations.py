"""The hundred judged recommendations: each pair once, each judged, and the rows of the page made by today's code."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAIRS = ROOT / "docs" / "recommendations.csv"


def _pairs() -> list[dict[str, str]]:
    with PAIRS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_hundred_pairs_are_judged() -> None:
    """Each pair stands once, with the answer that was judged, a verdict of the three, and a remark."""
    pairs, tool = _pairs(), runpy.run_path(str(ROOT / "tools" / "recommendations.py"))
    assert len({pair["command"] for pair in pairs}) == len(pairs) >= 100
    assert {pair["verdict"] for pair in pairs} == set(tool["VERDICTS"])
    assert all(len(pair["judged"].split()) == 2 and pair["remark"] for pair in pairs)
    assert sum(pair["verdict"] == "good" for pair in pairs) >= 0.8 * len(pairs)


@pytest.mark.parametrize("number", [4, 6, 10, 16, 24])
def test_an_answer_is_still_the_one_that_was_judged(number: int) -> None:
    """Where an answer changes, the row says which one the verdict is of; these, published in MXFP4, do not."""
    pair = _pairs()[number]
    tool = runpy.run_path(str(ROOT / "tools" / "recommendations.py"))
    assert f"| {pair['verdict']} | {pair['remark']} |" in tool["row"](pair)
    other = tool["row"]({**pair, "judged": "q2_k nothing"})
    assert f"{pair['verdict']} (of q2_k nothing)" in other
