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


def longer(length: int, pace: float, products: float = 1.0) -> Observation:
    """A request behind `length` thousand tokens: products and the cache's reading grow with them, attention with their
    square. Its products take `products` times what they are taken at."""
    cache_s, products_s, attention_s = 1e-4 * length, 0.02 * length, 0.001 * length**2
    prompt_s = tuned("prompt_pace") * products * products_s + 1.1 * attention_s
    row = request(f"{length}k", 0.02 + pace * cache_s + prompt_s / OUTPUTS, cache_s, products_s)
    return replace(row, before=(*row.before, Amount("prefill_attention", COMPUTE, attention_s)))


LENGTHS = (6, 14, 31, 63, 129)


def test_lengths_tell_how_fast_a_table_reads_its_cache() -> None:
    """What grows with a prompt's length and what grows with its square are told apart: the prompts come out as they
    were made, for a cache that is read at a quarter of the nominal rate."""
    table = [SHORT, *(longer(length, 4.0) for length in LENGTHS)]
    for one in prompts_by_difference(table):
        made = next(row for row in table if row.id == one.id)
        cache_s = made.amounts[1].nominal_s
        assert one.seconds == pytest.approx(OUTPUTS * (made.seconds - SHORT.seconds - 4.0 * cache_s))
    assert prompts_by_difference(table)


def test_a_cache_is_read_alike_whatever_multiplies_the_weights() -> None:
    """A table whose kernels are slower tells a slower cache than there is: that of its model's other table counts."""
    plain = [SHORT, *(longer(length, 2.0) for length in LENGTHS)]
    slow = [replace(SHORT, groups={"kernel": "gptq"})]
    slow += [replace(longer(length, 2.0, 3.0), groups={"kernel": "gptq"}) for length in LENGTHS]
    of_slow = [one for one in prompts_by_difference([*plain, *slow]) if one.groups == {"kernel": "gptq"}]
    alone = prompts_by_difference(slow)
    longest, too_short = (max(found, key=lambda one: one.seconds) for found in (of_slow, alone))
    made = slow[-1]
    assert longest.seconds == pytest.approx(OUTPUTS * (made.seconds - SHORT.seconds - 2.0 * made.amounts[1].nominal_s))
    assert too_short.seconds < longest.seconds


def test_few_lengths_tell_no_pace() -> None:
    """Two longer prompts tell what two unknowns are, and nothing of how well: the usual pace."""
    table = [SHORT, longer(63, 4.0), longer(129, 4.0)]
    for one, made in zip(prompts_by_difference(table), table[1:], strict=True):
        further_s = made.seconds - SHORT.seconds - tuned("cache_pace") * made.amounts[1].nominal_s
        assert one.seconds == pytest.approx(OUTPUTS * further_s)
