"""Plain rows in the four output styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TABLE_STYLES = {"table": "simple", "markdown": "github"}


def render_rows(rows: Sequence[Mapping[str, Any]], style: str) -> str:
    """Rows with the same keys as a table, Markdown, CSV or JSON (a list of objects)."""
    if style == "json":
        from sizer.report.json import dumps

        return dumps(list(rows))
    if style == "csv":
        return _csv(rows)
    from tabulate import tabulate

    cells = [["-" if value is None else value for value in row.values()] for row in rows]
    return tabulate(cells, headers=list(rows[0]), tablefmt=TABLE_STYLES[style], disable_numparse=True)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")
