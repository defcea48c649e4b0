"""Tables laid out as text: columns that fit a terminal, Markdown, CSV.

tabulate draws the Markdown; importing it costs as much as importing click, which the estimate's own table must not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sizer.printable import one_line
from sizer.regex import pattern

Lay = Callable[[Sequence[str], Sequence[Sequence[str]]], str]
"""Lays out a table: headers, and rows of as many cells."""

GAP = "  "
WIDEST_TABLE = 100
NARROWEST = 12
"""Characters of the widest table, and of the narrowest column that is still wrapped."""
_WORDS = pattern(r"[A-Za-z]{4}")
_FIGURE = pattern(r"[\d.,]+( |$)")
_FORMULA = pattern(r"[=+\-@]")


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under a rule, as wide as their widest cell and 100 characters together at most.

    Figures that leave no room for two spaces between columns stand one apart.
    """
    cells = _within([[one_line(cell) for cell in row] for row in rows], headers)
    widths = [max(len(cell) for cell in column) for column in zip(headers, *cells, strict=True)]
    ruled = [headers, ["-" * width for width in widths], *cells]
    gap = GAP if fits(widths) else " "
    lines = (gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in ruled)
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown."""
    from tabulate import tabulate

    cells = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)


def csv_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV under the union of their columns, in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return "\n".join([csv_line(columns), *(csv_line([row.get(column) for column in columns]) for row in rows)])


def csv_line(cells: Sequence[Any]) -> str:
    """One line of CSV, without its end."""
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([csv_cell(cell) for cell in cells])
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """A cell of CSV: texts are joined by semicolons, records are JSON, and a text that a spreadsheet would run as a
    formula is quoted by the usual apostrophe."""
    if isinstance(value, (list, tuple, dict)):
        value = _listed(value)
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _listed(value: Any) -> str:
    """A list of plain values as text, what holds records as JSON on one line."""
    if isinstance(value, dict) or any(isinstance(item, (list, tuple, dict)) for item in value):
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "; ".join(map(str, value))


def cells_of(rows: Sequence[Mapping[str, Any]], lay: Lay) -> str:
    """Rows with the same keys, laid out; a dash where there is no value."""
    if not rows:
        return ""
    return lay(list(rows[0]), [["-" if value is None else str(value) for value in row.values()] for row in rows])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def fits(widths: Sequence[int]) -> bool:
    """Whether columns of these widths stand beside each other in the widest table."""
    return sum(widths) + len(GAP) * (len(widths) - 1) <= WIDEST_TABLE


def _within(cells: list[list[str]], headers: Sequence[str]) -> list[list[str]]:
    """The cells cut so that the table fits a terminal: the widest column of words gives way, the first (a name) last.

    Figures are never cut.
    """
    table = list(zip(headers, *cells, strict=True))
    widths = [max(map(len, column)) for column in table]
    narrowest = [
        max(len(header), NARROWEST, *(len(cell) for cell in column if not _gives_way(cell)))
        if any(map(_gives_way, column))
        else width
        for (header, *column), width in zip(table, widths, strict=True)
    ]
    while not fits(widths):
        room = [index for index in range(len(widths)) if widths[index] > narrowest[index]]
        if not room:
            break
        widths[max(room, key=lambda index: (index > 0, widths[index]))] -= 1
    return [[_cut(cell, width) for cell, width in zip(row, widths, strict=True)] for row in cells]


def _gives_way(cell: str) -> bool:
    """Whether a cell is words: a figure, with or without its unit, is not."""
    return bool(_WORDS.search(cell)) and not _FIGURE.match(cell)


def _cut(cell: str, width: int) -> str:
    """A cell of at most `width` characters: cut behind a word where it has several, else within it."""
    if len(cell) <= width:
        return cell
    kept = cell[: width - 2]
    whole = kept if cell[width - 2] == " " else kept.rpartition(" ")[0]
    return f"{(whole if len(whole) >= len(kept) // 2 else kept).rstrip()}.."
