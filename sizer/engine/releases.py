"""Rules of an engine that changed with its releases: which row holds for a version or a date."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from sizer.tables import read_rows


@cache
def rules(table: str, column: str) -> Mapping[str, list[dict[str, str]]]:
    """The rows of a table of the data folder by the engine or runtime that a column names, in their order."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(table):
        found[row[column]].append(row)
    return dict(found)


def rule_in_force(rows: Sequence[dict[str, str]], version: str = "", date: str = "") -> dict[str, str]:
    """The row that holds for an engine's version, or where that is not known for a run of a date (ISO).

    A row with `before_version` holds for older versions, and for runs before that version's release (`before_date`);
    without version and date the newest rule holds, which is the first row.
    """
    numbers = version_numbers(version)
    older = [row for row in rows if row["before_version"] and _is_older(row, numbers, date)]
    return min(older, key=lambda row: version_numbers(row["before_version"])) if older else rows[0]


def foreign_count(engine: str, version: str, date: str) -> bool:
    """Whether a build's number is not its engine's own count of commits, so that it tells no release.

    Forks and shallow clones count from elsewhere: `b741` ran in June 2026, when the engine's own b4384 was a year and
    more old (`data/build_dates.csv`); `b6217 (6217b49)` is the start of a commit's name.
    """
    if re.match(r"b(\d+) \(\1", version):
        return True
    numbers, known = version_numbers(version), rules("build_dates.csv", "engine").get(engine, ())
    return bool(numbers) and any(
        numbers < version_numbers(row["version"]) and date >= f"{int(row['date'][:4]) + 1}{row['date'][4:]}"
        for row in known
    )


def version_numbers(text: str) -> tuple[int, ...]:
    """The numbers at the start of `4.37.2 (torch 2.1)`, `v0.21` or llama.cpp's build `b7406`; none of other texts."""
    numbers: list[int] = []
    for piece in text.split()[:1]:
        for number in piece.lstrip("vb").split("."):
            if not number.isdigit():
                break
            numbers.append(int(number))
    return tuple(numbers)


def _is_older(row: dict[str, str], version: tuple[int, ...], date: str) -> bool:
    return version < version_numbers(row["before_version"]) if version else bool(date) and date < row["before_date"]
