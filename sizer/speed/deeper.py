"""Decode is told no faster with more in the cache.

The law's step takes longer with every token of the cache. What rows near a case say (`sizer.speed.nearby`) changes with
the depth as well, in steps of a tenth of its logarithm: where rows of a deeper cache ran faster than told, the answer
would rise. So each case is told no less time than the deepest end of each shallower step is told: the longest of all
those, by the law's terms with the cache's share cut down and by what the same rows say there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log

from sizer.speed.law import combine, parts_of
from sizer.speed.nearby import NO_DEPTH, Row, Traits, likeness
from sizer.speed.stages import Timed

GROWING = frozenset({"cache", "cache_copies", "attention", "further_attention"})
"""The terms of a decode step that grow with the cache."""
STEPS = 10
"""Steps of the depth in one of its logarithm: traits tell it to a tenth."""
SHALLOWEST = round(STEPS * log(NO_DEPTH))


def no_faster_than_shallower(said: float, asked: Traits, rows: Sequence[Row], step: Timed, beside: float) -> float:
    """What rows say of a step (`said`, a logarithm), and no more than leaves it as slow as with less in the cache.

    `beside` is what the cache takes over what the weights take, at nominal rates: the depth that traits round.
    """
    at = round(STEPS * asked.depth)
    shallower = [(cell, other) for cell, other in _by_depth(asked, rows, at) if other < said]
    if not shallower:
        return said
    growing = parts_of((amount, time_s) for amount, time_s in step.terms if amount.term in GROWING)
    still = parts_of((amount, time_s) for amount, time_s in step.terms if amount.term not in GROWING)
    whole_s = combine(parts_of(step.terms))
    for cell, other in shallower:
        share = min(1.0, (exp((cell + 0.5) / STEPS) - NO_DEPTH) / beside)
        told_s = combine({part: time_s + share * growing[part] for part, time_s in still.items()})
        said = min(said, other + log(whole_s / told_s))
    return said


def _by_depth(asked: Traits, rows: Sequence[Row], at: int) -> list[tuple[int, float]]:
    """What rows say of the same case at every shallower step of the depth, the shallowest first.

    A row's say falls by the same factor with each step between: one pass down from the deep rows and one up from the
    shallow ones add all of them.
    """
    like_of = likeness()
    fall = exp(-1 / (STEPS * like_of.depth))
    heeded = [row for row in rows if row.weight]
    level = like_of._replace(depth=inf).of_each(asked, [row.traits for row in heeded])
    own: dict[int, float] = {}
    for row, like in zip(heeded, level, strict=True):
        cell = round(STEPS * row.traits.depth)
        own[cell] = own.get(cell, 0.0) + row.weight * like
    if not own:
        return []
    first, last = min(*own, SHALLOWEST), max(*own, at)
    from_deep, heard = {}, 0.0
    for cell in range(last, first - 1, -1):
        heard = heard * fall + own.get(cell, 0.0)
        from_deep[cell] = heard
    found, heard = [], 0.0
    for cell in range(first, at):
        heard *= fall
        if cell >= SHALLOWEST:
            found.append((cell, heard + from_deep[cell]))
        heard += own.get(cell, 0.0)
    return found
