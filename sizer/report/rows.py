"""Plain rows in the four output styles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sizer.report.columns import GAP, columns

WIDEST_TABLE = 100
NARROWEST = 12
_WORDS = re.compile(r"[A-Za-z]{4}")

TABLE_STYLES = {"table": "simple", "markdown": "github"}


def render_rows(rows: Sequence[Mapping[str, Any]], style: str) -> str:
    """Rows with the same keys as a table, Markdown, CSV or JSON (a list of objects)."""
    if style == "json":
        from sizer.plain_json import dumps

        return dumps(list(rows))
    if style == "csv":
        return _csv(rows)
    cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
    if style == "table":
        return columns(list(rows[0]), _within(cells, list(rows[0])))
    from tabulate import tabulate

    return tabulate(cells, headers=list(rows[0]), tablefmt=TABLE_STYLES[style], disable_numparse=True)


def _within(cells: list[list[str]], headers: Sequence[str]) -> list[list[str]]:
    """The cells cut so that the table fits a terminal: the widest column of words gives way, the first (a name) last.

    Figures are never cut.
    """
    table = list(zip(headers, *cells, strict=True))
    widths = [max(map(len, column)) for column in table]
    narrowest = [
        max(len(header), NARROWEST) if any(map(_WORDS.search, column)) else width
        for (header, *column), width in zip(table, widths, strict=True)
    ]
    while sum(widths) + len(GAP) * (len(widths) - 1) > WIDEST_TABLE:
        room = [index for index in range(len(widths)) if widths[index] > narrowest[index]]
        if not room:
            break
        widths[max(room, key=lambda index: (index > 0, widths[index]))] -= 1
    return [
        [cell if len(cell) <= width else cell[: width - 2] + ".." for cell, width in zip(row, widths, strict=True)]
        for row in cells
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")
