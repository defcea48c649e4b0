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
    """Whether a row's pattern fits a text: stars stand for any run of characters.

    `fnmatch` would compile a regular expression for each pattern, which an offline estimate has not got the time for.

    >>> matches("jetson-*orin*", "jetson-agx-orin-64gb"), matches("t4", "t4g")
    (True, False)
    """
    head, *pieces = pattern.split("*")
    if not pieces:
        return text == pattern
    if not text.startswith(head):
        return False
    at, tail = len(head), pieces.pop()
    for piece in pieces:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return text.endswith(tail) and len(text) - len(tail) >= at


def read_json(name: str) -> Any:
    """One JSON document of the data folder."""
    return json.loads(data_path(name).read_bytes())
