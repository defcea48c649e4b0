"""Terms that share another quantity's constants, and times told over another step's."""

from __future__ import annotations

from math import exp, log

import pytest

from sizer.calibrate.fit_constants import Fitter
from sizer.calibrate.observation import Observation
from sizer.calibrate.terms import TermPrior
from sizer.speed.law import COMPUTE, MEMORY, Amount, Constants, Term

PROMPTS = {"prompt": TermPrior(0.0, {"device": 1.0})}
STEPS = {"tile": TermPrior(0.0, {}, "prompt"), "read": TermPrior(0.0, {})}


def seen(device: str, term: str, seconds: float, **more: object) -> Observation:
    """A row of one term whose nominal time is a second."""
    part = MEMORY if term == "read" else COMPUTE
    groups = {"device": f"device: {device}"}
    quantity = "prefill" if term == "prompt" else "decode"
    amounts = (Amount(term, part, 1.0),)
    return Observation("0", quantity, "s", device, "m", "e", "f", False, seconds, amounts, groups, **more)  # type: ignore[arg-type]


def fitter(*steps: Observation) -> Fitter:
    """Steps beside prompts that one card reads four times as slowly as the other."""
    prompts = [seen(card, "prompt", seconds) for card, seconds in (("slow", 4.0), ("fast", 1.0)) for _ in range(200)]
    return Fitter(list(steps), STEPS, Fitter(prompts, PROMPTS))


def test_a_term_takes_its_prompts_factor() -> None:
    """Tiles of a card are as slow as its prompts, and the law tells the same from the fitted constants."""
    found = fitter(seen("slow", "tile", 4.0), seen("fast", "tile", 1.0))
    slow, fast = found.seconds(found.solve())
    assert slow / fast == pytest.approx(4.0, rel=0.02)
    assert found.prompts is not None
    told = Constants({**found.prompts.fitted(), **found.fitted()}, {}, {}, {})
    assert told.factor("tile", ("device: slow",)) == pytest.approx(slow, rel=1e-3)


def test_a_card_that_is_left_out_lends_nothing() -> None:
    """Without the slow card's prompts nothing tells its tiles from the fast one's."""
    known = fitter(seen("slow", "tile", 4.0), seen("fast", "tile", 1.0)).without(lambda row: row.device == "slow")
    slow, fast = known.seconds(known.solve())
    assert slow == pytest.approx(fast)


def test_a_ratio_teaches_the_step_alone() -> None:
    """A step told at three times another: its own term learns it, whatever the other takes."""
    over = seen("fast", "tile", 3.0, against=(Amount("read", MEMORY, 1.0),))
    found = fitter(*[seen("fast", "read", 2.0)] * 200, *[over] * 200)
    theta = found.solve()
    times = found.seconds(theta)
    assert times[0] == pytest.approx(2.0, rel=0.02)
    assert times[-1] == pytest.approx(3.0, rel=0.02)
    terms = found.fitted()
    assert exp(terms["tile"].base) == pytest.approx(6.0, rel=0.05)
    assert isinstance(terms["read"], Term)
    assert terms["read"].base == pytest.approx(log(2.0), abs=0.02)


def request(device: str, step_s: float, prompt_s: float) -> Observation:
    """A request of ten tokens, told by token."""
    before = (Amount("prompt", COMPUTE, 1.0),)
    return seen(device, "read", step_s + prompt_s / 10, before=before, outputs=10)


def test_a_request_teaches_the_step_beside_its_prompt() -> None:
    """What prompts of the card take is laid to the prompt; the rest of a request's time is its steps'."""
    found = fitter(*[request("slow", 2.0, 4.0)] * 200, *[request("fast", 2.0, 1.0)] * 200)
    theta = found.solve()
    assert found.seconds(theta)[0] == pytest.approx(2.4, rel=0.02)
    assert found.seconds(theta)[-1] == pytest.approx(2.1, rel=0.02)
    assert exp(found.fitted()["read"].base) == pytest.approx(2.0, rel=0.02)


def test_a_request_that_is_left_out_is_told_by_prompts_of_others() -> None:
    """Without the slow card's rows, its prompts are told as fast as the other's, and its requests so much faster."""
    found = fitter(*[request("slow", 2.0, 4.0)] * 200, *[request("fast", 2.0, 1.0)] * 200)
    known = found.without(lambda row: row.device == "slow")
    slow, fast = known.seconds(known.solve())[[0, -1]]
    assert slow == pytest.approx(fast)
    assert slow == pytest.approx(2.1, rel=0.02)
