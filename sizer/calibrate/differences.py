"""Prompts that requests tell by difference: a request's time less that of as many steps behind a short prompt.

Few tables tell prompts of tens of thousands of tokens, and those of servers tell requests: so many tokens written after
a prompt of a token, of 6,144, of 63,488. What the long one takes beyond the short one is its prompt, and what its steps
read more of the cache.
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


def prompts_by_difference(rows: Iterable[Observation]) -> list[Observation]:
    """The prompts of requests that take `told_share` of their time or more."""
    tables: dict[tuple[object, ...], list[Observation]] = defaultdict(list)
    for row in rows:
        if row.before and not row.apart and not row.hosted and not _seconds(row.amounts, COPIES):
            tables[row.source, row.model, row.outputs, tuple(row.groups.values())].append(row)
    return [one for table in tables.values() for one in _told(table)]


def _told(table: Sequence[Observation]) -> Iterator[Observation]:
    """The prompts of a table of requests alike but for their prompts, beside the one with the shortest."""
    short = min(table, key=_products_s)
    if _products_s(short) > tuned("short_share") * short.seconds * short.outputs:
        return
    for row in table:
        further = _seconds(row.amounts, CACHE) - _seconds(short.amounts, CACHE)
        steps_s = row.outputs * (short.seconds + further * tuned("cache_pace"))
        whole_s = row.outputs * row.seconds
        if whole_s - steps_s >= tuned("told_share") * whole_s:
            trust = row.weight * tuned("noisy_weight")
            yield replace(
                row, quantity="prefill", seconds=whole_s - steps_s, amounts=row.before, before=(), outputs=1,
                apart=OF_REQUESTS, weight=trust, traits=None, tokens_per_s=0.0,
            )  # fmt: skip


def _products_s(row: Observation) -> float:
    """Nominal seconds of a request's prompt's products."""
    return sum(amount.nominal_s for amount in row.before if amount.part == COMPUTE)


def _seconds(amounts: Iterable[Amount], term: str) -> float:
    return sum(amount.nominal_s for amount in amounts if amount.term == term)
