"""Reads `data/` into frozen rows. The only room that knows where the data lies."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


@cache
def data_dir() -> Path:
    """The data folder: inside the installed package, else beside it in a checkout (an editable install)."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "data", package.parent / "data"):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"sizer's data folder is missing beside {package}; reinstall sizer")


def data_path(name: str) -> Path:
    """Path of one file or folder under the data folder."""
    return data_dir() / name


def read_rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of one CSV table of the data folder, as text by column.

    `csv.DictReader` would do the same in three times the time, which an offline estimate has not got.
    """
    with data_path(name).open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        header = next(reader)
        for row in reader:
            yield dict(zip(header, row, strict=True))


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
    return json.loads(data_path(name).read_bytes())
