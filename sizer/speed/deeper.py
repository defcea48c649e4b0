"""Decode is told no faster with more in the cache.

The law's step takes longer with every token of the cache. What rows near a case say (`sizer.speed.nearby`) changes with
the depth as well, in steps of a tenth of its logarithm: where rows of a deeper cache ran faster than told, the answer
would rise. So each case is told no less time than the deepest end of each shallower step is told: the longest of all
those, by the law's terms with the cache's share cut down and by what the same rows say there.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log

from sizer.speed.law import combine, parts_of
from sizer.speed.nearby import NO_DEPTH, Alike, Rows, Traits
from sizer.speed.stages import Timed

GROWING = frozenset({"cache", "cache_copies", "attention", "further_attention"})
"""The terms of a decode step that grow with the cache."""
STEPS = 10
"""Steps of the depth in one of its logarithm: traits tell it to a tenth."""
SHALLOWEST = round(STEPS * log(NO_DEPTH))
DEEPEST = STEPS * 3
"""A cache that takes twenty times what the weights take: few are deeper, and what rows say is told up to there once."""


def no_faster_than_shallower(said: float, asked: Traits, rows: Rows, step: Timed, beside: float) -> float:
    """What rows say of a step (`said`, a logarithm), and no more than leaves it as slow as with less in the cache.

    `beside` is what the cache takes over what the weights take, at nominal rates: the depth that traits round.
    """
    at = round(STEPS * asked.depth)
    every = _by_depth(rows.alike(asked), max(at, DEEPEST))
    shallower = [(other, cell) for cell, other in every[: max(0, at - SHALLOWEST)] if other < said]
    if not shallower:
        return said
    growing = parts_of((amount, time_s) for amount, time_s in step.terms if amount.term in GROWING)
    still = parts_of((amount, time_s) for amount, time_s in step.terms if amount.term not in GROWING)
    whole_s = combine(parts_of(step.terms))
    for other, cell in sorted(shallower):
        if other >= said:
            break  # with less in the cache no step takes longer: those left say no less
        share = min(1.0, (exp((cell + 0.5) / STEPS) - NO_DEPTH) / beside)
        told_s = combine({part: time_s + share * growing[part] for part, time_s in still.items()})
        said = min(said, other + log(whole_s / told_s))
    return said


@lru_cache(maxsize=256)
def _by_depth(alike: Alike, last: int) -> list[tuple[int, float]]:
    """What rows say of the same case at every step of the depth before the last, the shallowest first.

    A row's say falls by the same factor with each step between: one pass down from the deep rows and one up from the
    shallow ones add all of them.
    """
    fall = exp(-1 / (STEPS * alike.depths))
    own: dict[int, float] = {}
    for depth, said in alike.said_by_depth():
        cell = round(STEPS * depth)
        own[cell] = own.get(cell, 0.0) + said
    if not own:
        return []
    first, last = min(*own, SHALLOWEST), max(*own, last)
    from_deep, heard = {}, 0.0
    for cell in range(last, first - 1, -1):
        heard = heard * fall + own.get(cell, 0.0)
        from_deep[cell] = heard
    found, heard = [], 0.0
    for cell in range(first, last):
        heard *= fall
        if cell >= SHALLOWEST:
            found.append((cell, heard + from_deep[cell]))
        heard += own.get(cell, 0.0)
    return found
