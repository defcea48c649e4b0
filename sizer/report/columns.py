"""A plain text table. tabulate draws the other tables; importing it costs as much as importing click, which the
estimate's own table must not pay."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a rule, as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    ruled = [headers, ["-" * width for width in widths], *rows]
    lines = (GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in ruled)
    return "\n".join(line.rstrip() for line in lines)
