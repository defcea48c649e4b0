"""Prompts that requests tell by difference, counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.calibrate.differences import OF_REQUESTS, prompts_by_difference
from sizer.calibrate.observation import Observation
from sizer.speed.law import COMPUTE, MEMORY, Amount
from sizer.tuning import tuned

OUTPUTS = 100
GROUPS = {"engine device": "e d", "kernel": "half", "split": "e one device"}


def request(name: str, seconds: float, cache_s: float, products_s: float) -> Observation:
    """A request of 100 tokens, each with so much of its time, behind a prompt of so many products."""
    amounts = (Amount("weights", MEMORY, 0.01), Amount("cache", MEMORY, cache_s))
    before = (Amount("prefill_compute", COMPUTE, products_s), Amount("prefill_weights", MEMORY, 9.0))
    return Observation(
        name, "decode", "table", "d", "m", "e", "gpu", False, seconds, amounts, GROUPS, before=before, outputs=OUTPUTS
    )  # fmt: skip


SHORT, LONG = request("short", 0.02, 0.0, 0.001), request("long", 0.05, 0.01, 1.0)


def test_a_long_prompt_is_what_its_request_takes_beyond_a_short_ones() -> None:
    """5 seconds in all, less 100 steps of 20 ms that read 10 ms more of the cache each: the prompt."""
    (told,) = prompts_by_difference([SHORT, LONG])
    assert (told.id, told.quantity, told.apart, told.amounts) == ("long", "prefill", OF_REQUESTS, LONG.before)
    assert told.seconds == pytest.approx(5 - 100 * (0.02 + 0.01 * tuned("cache_pace")))
    assert (told.before, told.outputs, told.scored) == ((), 1, False)
    assert told.weight == LONG.weight * tuned("noisy_weight")


def test_what_tells_no_prompt() -> None:
    """A small share of a request, another table's request, a short one that is none, and a cache copied whole."""
    assert not prompts_by_difference([SHORT, replace(LONG, seconds=0.04)])
    assert not prompts_by_difference([SHORT, replace(LONG, source="another")])
    assert not prompts_by_difference([SHORT, replace(LONG, groups={**GROUPS, "graphs": "e eager"})])
    assert not prompts_by_difference([replace(SHORT, before=(Amount("prefill_compute", COMPUTE, 1.0),)), LONG])
    assert not prompts_by_difference([SHORT, replace(LONG, apart="aggregate requests")])
    copies = Amount("cache_copies", MEMORY, 0.01)
    assert not prompts_by_difference([replace(one, amounts=(*one.amounts, copies)) for one in (SHORT, LONG)])
