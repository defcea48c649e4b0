"""Prompts that other rows of their own table contradict: more was read in less time, by the same engine and card.

The first run of a process may have paid for loading and compiling; a table's odd column shows nothing of its card. How
much more is `odd_*` in data/tuning.csv: of one model, twice the tokens with half as many products again (an expert's
tiles fill up); of dense models, as many tokens with three times the products.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sizer.calibrate.observation import Observation
from sizer.speed.law import COMPUTE
from sizer.tuning import tuned


def contradicted(rows: Sequence[Observation]) -> dict[str, str]:
    """Why prompts are left out, by the names of their rows."""
    tables: dict[tuple[str, ...], list[Observation]] = defaultdict(list)
    for row in rows:
        if row.quantity == "prefill" and not row.hosted:
            groups = row.groups
            key = (row.source, groups["engine device"], groups["kernel"], groups.get("version", ""), groups["era"])
            tables[key].append(row)
    return {
        one.id: f"{other.id} read more in less time"
        for table in tables.values()
        for one in table
        for other in table
        if other.seconds < one.seconds and _is_more(other, one)
    }


def _is_more(other: Observation, one: Observation) -> bool:
    """Whether a prompt takes more products than another and, by what either is, more time."""
    tokens, others = (row.seconds * row.tokens_per_s for row in (one, other))
    if other.model == one.model:
        more = others >= tuned("odd_tokens") * tokens and _products_s(other) >= tuned("odd_products") * _products_s(one)
        return more and other.groups["split"] == one.groups["split"]
    alike = not (one.moe or other.moe) and abs(others / tokens - 1) < tuned("odd_same")
    return alike and _products_s(other) >= tuned("odd_models") * _products_s(one)


def _products_s(row: Observation) -> float:
    return sum(amount.nominal_s for amount in row.amounts if amount.part == COMPUTE)
