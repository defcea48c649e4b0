"""Plain rows in the four output styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDEST_TABLE = 100
NARROWEST = 12
COLUMN_GAP, HEADER_PADDING = 2, 2
"""How tabulate sets its simple table: two spaces between columns, two beside a header."""

TABLE_STYLES = {"table": "simple", "markdown": "github"}


def render_rows(rows: Sequence[Mapping[str, Any]], style: str) -> str:
    """Rows with the same keys as a table, Markdown, CSV or JSON (a list of objects)."""
    if style == "json":
        from sizer.report.json import dumps

        return dumps(list(rows))
    if style == "csv":
        return _csv(rows)
    from tabulate import tabulate

    cells = [["-" if value is None else str(value) for value in row.values()] for row in rows]
    if style == "table":
        cells = _within(cells, list(rows[0]))
    return tabulate(cells, headers=list(rows[0]), tablefmt=TABLE_STYLES[style], disable_numparse=True)


def _within(cells: list[list[str]], headers: Sequence[str]) -> list[list[str]]:
    """The cells cut so that the table fits a terminal: the widest column gives way, the first (a name) last."""
    widths = [
        max(len(header) + HEADER_PADDING, *map(len, column)) for header, *column in zip(headers, *cells, strict=True)
    ]
    narrowest = [max(len(header) + HEADER_PADDING, NARROWEST) for header in headers]
    while sum(widths) + COLUMN_GAP * (len(widths) - 1) > WIDEST_TABLE:
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
