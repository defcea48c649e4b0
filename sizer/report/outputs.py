"""Output formats: one registry. A command answers with a `Document`; a format of the registry writes it.

To add a format, add its row to `FORMATS`: every command has it then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sizer.report.layout import Lay, cells_of, csv_table, markdown_table, text_table

Rows = Sequence[Mapping[str, Any]]
Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Document:
    """What a command answers; each view is made only when a format asks for it.

    `record` is what JSON holds, `rows` are flat rows of raw figures, `page` is what people read, given how a table is
    laid out.
    """

    record: Callable[[], Any]
    rows: Callable[[], Rows]
    page: Callable[[Lay], str]


def listing(rows: Sequence[Row], for_people: Callable[[Row], Mapping[str, Any]]) -> Document:
    """A document of plain rows; `for_people` rounds one row's figures and drops what a reader does not need."""
    return Document(
        record=lambda: list(rows),
        rows=lambda: rows,
        page=lambda lay: cells_of([for_people(row) for row in rows], lay),
    )


def _json(document: Document) -> str:
    from sizer.plain_json import dumps

    return dumps(document.record())


FORMATS: Mapping[str, Callable[[Document], str]] = {
    "table": lambda document: document.page(text_table),
    "json": _json,
    "csv": lambda document: csv_table(document.rows()),
    "markdown": lambda document: document.page(markdown_table),
}


def write(document: Document, style: str) -> str:
    """The document in a format of the registry."""
    return FORMATS[style](document)
