"""Output formats: one registry. A command answers with a `Document`; a format of the registry writes it.

To add a format, add its row to `FORMATS`: every command has it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice
from typing import Any, TypeVar

from sizer.frozen import dataclass
from sizer.printable import one_line
from sizer.report.layout import Lay, cells_of, csv_line, csv_table, markdown_table, text_table
from sizer.report.wrap import wrapped

PAGE_ROWS = 200
"""Rows that a table of a stream is laid out for at once."""
MOST_NAMED = 3
"""Rows that are named beside what is said of them all."""

Rows = Sequence[Mapping[str, Any]]
Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Document:
    """What a command answers; each view is made only when a format asks for it.

    `record` is what JSON holds, `rows` are flat rows of raw figures, `page` is what people read, given how a table is
    laid out, `own` formats that only this document has.
    """

    record: Callable[[], Any]
    rows: Callable[[], Rows]
    page: Callable[[Lay], str]
    own: Mapping[str, Callable[[], str]] = field(default_factory=dict)


def together(documents: Sequence[Document]) -> Document:
    """Several answers as one: JSON is an object, a list for several; rows and pages follow one another."""
    if len(documents) == 1:
        return documents[0]
    return Document(
        record=lambda: [document.record() for document in documents],
        rows=lambda: [row for document in documents for row in document.rows()],
        page=lambda lay: "\n\n".join(document.page(lay) for document in documents),
    )


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
    "table": lambda document: wrapped(document.page(text_table)),
    "json": _json,
    "csv": lambda document: csv_table(document.rows()),
    "markdown": lambda document: document.page(markdown_table),
}


def write(document: Document, style: str) -> str:
    """The document in a format of the registry."""
    return document.own[style]() if style in document.own else FORMATS[style](document)


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows that are written as they come: so many do not fit in memory.

    `rows` are pairs of a row of raw figures and the same row for people; `columns` are those of the former. What the
    latter have in the column `told` a table of text writes below, in full.
    """

    columns: Sequence[str]
    rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]
    told: str = ""


def write_stream(stream: Stream, style: str) -> Iterator[str]:
    """The rows in a format of the registry, piece by piece: joined by newlines, the pieces are what `write` gives.

    Text tables and Markdown are laid out anew for every 200 rows. A format without a piecewise form gathers all.
    """
    if style in STREAMED:
        yield from STREAMED[style](stream)
        return
    pairs = list(stream.rows)
    raw, shown = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    yield write(Document(lambda: raw, lambda: raw, lambda lay: cells_of(shown, lay)), style)


def _json_pieces(stream: Stream) -> Iterator[str]:
    from sizer.plain_json import dumps

    before = None
    for raw, _ in stream.rows:
        yield "[" if before is None else f"{before},"
        before = "  " + dumps(raw).replace("\n", "\n  ")
    yield "[]" if before is None else f"{before}\n]"


def _csv_pieces(stream: Stream) -> Iterator[str]:
    yield csv_line(stream.columns)
    for raw, _ in stream.rows:
        yield csv_line([raw.get(column) for column in stream.columns])


def _pages(stream: Stream, lay: Lay, told: str = "") -> Iterator[str]:
    rows = (shown for _, shown in stream.rows)
    for first in rows:
        page = [first, *islice(rows, PAGE_ROWS - 1)]
        yield cells_of([{name: cell for name, cell in row.items() if name != told} for row in page], lay)
        yield from _told_below(page, told)


def _told_below(rows: Rows, column: str) -> Iterator[str]:
    """What a column says, each text once, with the first cells of the rows that it is said of."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.get(column):
            said.setdefault(str(row[column]), []).append(str(next(iter(row.values()))))
    for text, names in said.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield wrapped(one_line(f"{', '.join(names[:MOST_NAMED])}{more}: {text}"))


STREAMED: Mapping[str, Callable[[Stream], Iterator[str]]] = {
    "table": lambda stream: _pages(stream, text_table, stream.told),
    "json": _json_pieces,
    "csv": _csv_pieces,
    "markdown": lambda stream: _pages(stream, markdown_table),
}
