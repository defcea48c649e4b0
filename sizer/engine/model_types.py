"""Rules that engines have for some model types alone: `data/engine_model_types.csv`."""

from __future__ import annotations

from functools import cache

from sizer.tables import read_rows


@cache
def model_types(rule: str, engine: str = "") -> frozenset[str]:
    """The model types that a rule of an engine names (empty: of the models themselves, whatever runs them).

    `flash_attention` is on for them by default, `rotating_cache` drops what lies behind their windows, `capped_scores`
    are theirs whether or not a config repeats it.
    """
    rows = (row for row in read_rows("engine_model_types.csv") if (row["rule"], row["engine"]) == (rule, engine))
    return frozenset(name for row in rows for name in row["model_types"].split())
