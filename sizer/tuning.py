"""Numbers that were chosen by trial: rows of `data/tuning.csv`, each with what was tried and what decided."""

from __future__ import annotations

from functools import cache

from sizer.tables import read_rows

_overrides: dict[str, float] = {}


@cache
def _table() -> dict[str, float]:
    return {row["name"]: float(row["value"]) for row in read_rows("tuning.csv")}


def tuned(name: str) -> float:
    """The value of a row; while a trial runs, that of the trial."""
    return _overrides[name] if name in _overrides else _table()[name]


def try_instead(values: dict[str, float]) -> None:
    """Let a trial's values stand for those of the table; an empty map ends the trial. KeyError for a name of no row."""
    for name in values:
        _table()[name]
    _overrides.clear()
    _overrides.update(values)
