"""What measurements of one case differ by, on rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.calibrate.agreement import cards_told_twice, disagreements
from sizer.calibrate.heldout import Residual
from sizer.calibrate.observation import Observation
from sizer.speed.law import MEMORY, Amount
from sizer.speed.nearby import Traits

TRAITS = Traits("vllm cuda a", "q4_k", "4bit", "m", "llama", False, "none 1", 2025, 22.0, -4.0, 0.0, "a")
GROUPS = {"engine device": "engine device: vllm cuda a", "kernel": "kernel: q4_k", "bits": "bits: 4bit"}
STEP = (Amount("weights", MEMORY, 0.01),)
ONE = Observation(
    "0", "decode", "s", "a", "m", "vllm", "nvidia-gddr", False, 0.010, STEP, GROUPS, traits=TRAITS, tokens_per_s=100.0
)


def test_two_sources_of_a_case_are_as_far_apart_as_their_times() -> None:
    """The faster over the slower less one, whichever source is which."""
    other = replace(ONE, id="1", source="t", seconds=0.012)
    for rows in ([ONE, other], [other, ONE]):
        (found,) = disagreements(rows)
        assert found.sources == ("s", "t")
        assert found.apart == pytest.approx(0.2)


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, id="1", source="t", amounts=(Amount("weights", MEMORY, 0.0105),)),
        replace(ONE, id="1", source="t", before=STEP),
        replace(ONE, id="1", source="t", model="n"),
        replace(ONE, id="1", source="t", groups={**GROUPS, "kernel": "kernel: q8_0"}),
        replace(ONE, id="1", source="t", traits=TRAITS._replace(tokens=1.4)),
        replace(ONE, id="1", source="t", apart="aggregate"),
    ],
)
def test_rows_that_ask_something_else_are_no_pair(other: Observation) -> None:
    """Another depth, prompt, model, kernel or batch differs by what was asked; rows apart are judged elsewhere."""
    assert not disagreements([ONE, other])


def test_a_source_that_measured_a_case_twice_is_told_by_itself() -> None:
    """Machines of one name, or repeated runs: the median of all its pairs."""
    (found,) = disagreements([ONE, replace(ONE, id="1", seconds=0.011), replace(ONE, id="2", seconds=0.011)])
    assert found.sources == ("s",)
    assert found.apart == pytest.approx(0.1)


def test_a_card_told_twice_is_judged_after_the_law() -> None:
    """Sources that ran other models differ by what the law leaves of each, not by their models."""

    def left(source: str, of_law: float) -> Residual:
        return Residual(replace(ONE, source=source, model=source), 0.0, "engine", 0, of_law=of_law)

    (found,) = cards_told_twice([left("s", 0.1), left("s", 0.3), left("t", 0.0), left("t", 0.0)])
    assert found.apart == pytest.approx(0.2214, abs=1e-3)
