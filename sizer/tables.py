"""Reads `data/` into frozen rows. The only room that knows where the data lies.

`pathlib` takes three milliseconds of a start: what an estimate reads is read without it.
"""

from __future__ import annotations

import csv
import json
import os.path
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


@cache
def _folder() -> str:
    package = os.path.dirname(os.path.realpath(__file__))
    for candidate in (os.path.join(package, "data"), os.path.join(os.path.dirname(package), "data")):
        if os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(f"sizer's data folder is missing beside {package}; reinstall sizer")


def data_dir() -> Path:
    """The data folder: inside the installed package, else beside it in a checkout (an editable install)."""
    from pathlib import Path

    return Path(_folder())


def data_path(name: str) -> Path:
    """Path of one file or folder under the data folder."""
    return data_dir() / name


def is_there(name: str) -> bool:
    """Whether the data folder has a file of this name."""
    return os.path.isfile(os.path.join(_folder(), name))


def opened(name: str) -> TextIO:
    """A file of the data folder, to be read as text with its line ends as they are."""
    return open(os.path.join(_folder(), name), encoding="utf-8", newline="")


def read_bytes(name: str) -> bytes:
    """A whole file of the data folder."""
    with open(os.path.join(_folder(), name), "rb") as file:
        return file.read()


def read_rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of one CSV table of the data folder, as text by column.

    `csv.DictReader` would do the same in three times the time, which an offline estimate has not got.
    """
    with opened(name) as lines:
        reader = csv.reader(lines)
        header = next(reader)
        for row in reader:
            yield dict(zip(header, row, strict=True))


def read_tuples(name: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The cells of some columns of one CSV table, row by row: a long table is so read in half the time."""
    with opened(name) as lines:
        reader = csv.reader(lines)
        header = next(reader)
        yield from map(itemgetter(*map(header.index, columns)), reader)


CELLS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "str | None": lambda text: text or None,
    "bool": lambda text: text == "yes",
    "int": int,
    "int | None": lambda text: int(text) if text else None,
    "float": lambda text: float(text or 0),
    "float | None": lambda text: float(text) if text else None,
    "tuple[str, ...]": lambda text: tuple(text.split()),
    "frozenset[str]": lambda text: frozenset(text.split()),
}
"""How a cell is read, by the type of its field."""


def record_of(kind: type[T], row: Mapping[str, str], **told: Any) -> T:
    """A row as a record: a column is a field of its name, whose type says how its cell is read. `told` are the fields
    that no single cell tells. Raises KeyError for a field without a column, ValueError for a cell that is no number."""
    fields = kind.__annotations__
    return kind(**{name: CELLS[fields[name]](row[name]) for name in fields if name not in told}, **told)


class RowsByKey(Mapping[str, Mapping[str, str]]):
    """The rows of a CSV table by their first cell, each taken apart when it is asked for.

    One of a thousand is so found in a quarter of the time. The first cells need no quotes, and no cell holds the end of
    a line.
    """

    def __init__(self, name: str) -> None:
        header, *lines = read_bytes(name).decode().split("\n")
        self._columns = next(csv.reader([header]))
        self._lines = {line[: line.index(",")]: line for line in lines if line}

    def __getitem__(self, key: str) -> Mapping[str, str]:
        return dict(zip(self._columns, next(csv.reader([self._lines[key]])), strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def names_key(patterns: str, key: str) -> bool:
    """Whether one of a cell's patterns fits a key."""
    return any(matches(one, key) for one in patterns.split())


def row_of_key(name: str, key: str) -> dict[str, str] | None:
    """The first row of a table whose `devices` fit a key; None where none does."""
    return next((row for row in read_rows(name) if names_key(row["devices"], key)), None)


def matches(pattern: str, text: str) -> bool:
    """Whether a row's pattern fits a text: a star stands for any run of characters, a question mark for one.

    `fnmatch` would compile a regular expression for each pattern, which an offline estimate has not got the time for.

    >>> matches("jetson-*orin*", "jetson-agx-orin-64gb"), matches("t4", "t4g"), matches("i?-12*", "i7-12700h")
    (True, False, True)
    """
    head, *pieces = pattern.split("*")
    if not pieces:
        return len(text) == len(pattern) and _alike(pattern, text)
    if not _alike(head, text[: len(head)]):
        return False
    at, tail = len(head), pieces.pop()
    for piece in pieces:
        while not _alike(piece, text[at : at + len(piece)]):
            at += 1
            if at + len(piece) > len(text):
                return False
        at += len(piece)
    return len(text) - len(tail) >= at and _alike(tail, text[len(text) - len(tail) :])


def _alike(piece: str, text: str) -> bool:
    """Whether a text is a pattern without stars, sign by sign."""
    if "?" not in piece:
        return piece == text
    return len(piece) == len(text) and all(sign in {"?", seen} for sign, seen in zip(piece, text, strict=True))


def read_json(name: str) -> Any:
    """One JSON document of the data folder."""
    return json.loads(read_bytes(name))
