"""Prompts that requests tell by difference: a request's time less that of as many steps behind a short prompt.

Few tables tell prompts of tens of thousands of tokens, and those of servers tell requests: so many tokens written after
a prompt of a token, of 6,144, of 63,488. What the long one takes beyond the short one is its prompt, and what its steps
read more of the cache, which grows with the length where attention grows with the square of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sizer.calibrate.observation import Observation
from sizer.speed.law import COMPUTE, Amount
from sizer.tuning import tuned

OF_REQUESTS = "of requests"
"""What sets such prompts apart: they teach, and are not scored."""
CACHE, COPIES = "cache", "cache_copies"
ATTENTION, PRODUCTS = "prefill_attention", ("prefill_compute", "prefill_experts")
PACED_LENGTHS = 3
"""Longer prompts beside the short one from which a pace is told: one more than what they tell."""


def prompts_by_difference(rows: Iterable[Observation]) -> list[Observation]:
    """The prompts of requests that take `told_share` of their time or more."""
    tables: dict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for row in rows:
        if row.before and not row.apart and not row.hosted and not _seconds(row.amounts, COPIES):
            tables[row.source, row.model, row.outputs, tuple(row.groups.values())].append(row)
    found = [(min(table, key=_products_s), table) for table in tables.values()]
    told = [(short, table) for short, table in found if _is_short(short)]
    paces: dict[tuple[str, ...], float] = {}
    for short, table in told:
        pace = _pace(short, table)
        if pace is not None:
            paces[_cached(short)] = min(pace, paces.get(_cached(short), pace))
    return [one for short, table in told for one in _told(short, table, paces.get(_cached(short), 0.0))]


def _is_short(row: Observation) -> bool:
    """Whether a request's prompt takes next to nothing of it: its steps are plain."""
    return _products_s(row) <= tuned("short_share") * row.seconds * row.outputs


def _cached(row: Observation) -> tuple[str, ...]:
    """What requests share that read one cache in one way, whatever multiplies their weights."""
    return row.source, row.engine, row.device, row.model


def _told(short: Observation, table: Sequence[Observation], pace: float) -> Iterator[Observation]:
    """The prompts of a table of requests alike but for their prompts, beside the one with the shortest."""
    pace = max(pace, tuned("cache_pace"))
    for row in table:
        steps_s = row.outputs * (short.seconds + _further_s(row, short) * pace)
        whole_s = row.outputs * row.seconds
        if whole_s - steps_s >= tuned("told_share") * whole_s:
            trust = row.weight * tuned("noisy_weight")
            yield replace(
                row, quantity="prefill", seconds=whole_s - steps_s, amounts=row.before, before=(), outputs=1,
                apart=OF_REQUESTS, weight=trust, traits=None, tokens_per_s=0.0,
            )  # fmt: skip


def _pace(short: Observation, table: Sequence[Observation]) -> float | None:
    """How many times their nominal seconds a table's steps take to read the cache; None where too few lengths tell it.

    What a longer prompt adds to a request grows with its length (its products, and what each step reads of it) and
    with the square of it (its attention): of three lengths and more, least squares of the relative errors tell both.
    Products are taken at what engines usually reach (`prompt_pace`). Kernels that reach less add to what seems the
    cache's, so that the least of the tables of one cache counts.
    """
    longer = [row for row in table if _further_s(row, short) > 0 and row.seconds > short.seconds]
    if len(longer) < PACED_LENGTHS:
        return None
    cc = ca = aa = cr = ar = 0.0
    for row in longer:
        further_s = row.outputs * (row.seconds - short.seconds)
        cache = row.outputs * _further_s(row, short) / further_s
        attention = _seconds(row.before, ATTENTION) / further_s
        rest = 1 - tuned("prompt_pace") * sum(_seconds(row.before, term) for term in PRODUCTS) / further_s
        cc, ca, aa = cc + cache**2, ca + cache * attention, aa + attention**2
        cr, ar = cr + cache * rest, ar + attention * rest
    apart = cc * aa - ca**2
    return (cr * aa - ar * ca) / apart if apart else None


def _further_s(row: Observation, short: Observation) -> float:
    """Nominal seconds in which a step reads more of the cache than one behind the short prompt."""
    return _seconds(row.amounts, CACHE) - _seconds(short.amounts, CACHE)


def _products_s(row: Observation) -> float:
    """Nominal seconds of a request's prompt's products."""
    return sum(amount.nominal_s for amount in row.before if amount.part == COMPUTE)


def _seconds(amounts: Iterable[Amount], term: str) -> float:
    return sum(amount.nominal_s for amount in amounts if amount.term == term)
