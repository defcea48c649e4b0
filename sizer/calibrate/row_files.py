"""Files of rows, CSV, JSON Lines or a JSON array: a first pass keeps the columns alone, then rows come one by one."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass
from sizer.printable import shown

MAX_FILE_BYTES = 2**30
MAX_LINE_CHARACTERS = 2**20
PIECE_CHARACTERS = 2**16
MAX_COLUMNS = 4096
MAX_NESTING = 100
MAX_DIGITS = 300
"""A whole number of more digits is kept as the text that it is: no float holds it."""


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file that was read once and is well formed: `count` rows, whose columns together are `columns`."""

    path: Path
    columns: tuple[str, ...]
    count: int

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, one at a time. Raises InvalidInputFile."""
        return _rows(self.path)


def open_rows(path: Path) -> RowFile:
    """Check a CSV or JSON Lines file, or a JSON array of objects. Raises InvalidInputFile."""
    if not path.is_file():
        raise InvalidInputFile(f"{shown(str(path))} is no file.", "Give a CSV file with a header, or JSON Lines.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInputFile(f"{shown(str(path))} is larger than 1 GiB.", "Split it.")
    count, columns = 0, dict[str, None]()
    for row in _rows(path):
        count += 1
        if not row.keys() <= columns.keys():
            columns.update(dict.fromkeys(row))
            if len(columns) > MAX_COLUMNS:
                raise InvalidInputFile(f"{shown(str(path))} has more than {MAX_COLUMNS} columns.", "Leave some out.")
    return RowFile(path, tuple(columns) or _header(path), count)


def _header(path: Path) -> tuple[str, ...]:
    """The columns of a CSV file without rows; none of an empty file, or of an empty array."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        if _first_sign(lines) in {"", "[", "{"}:
            return ()
        lines.seek(0)
        return tuple(csv.DictReader(lines).fieldnames or ())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV, a JSON array or JSON Lines, told apart by the first sign. Raises InvalidInputFile."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            start = _first_sign(lines)
            lines.seek(0)
            if start == "[":
                yield from _objects(_array(lines), path)
            elif start == "{":
                for number, line in enumerate(_lines(lines, path), 1):
                    if line.strip():
                        yield from _objects([_parsed(line, number)], path)
            else:
                yield from _csv_rows(lines, path)
    except UnicodeDecodeError as error:
        raise InvalidInputFile(
            f"{shown(str(path))} is not UTF-8 text.", "Save it as UTF-8 CSV or JSON Lines."
        ) from error
    except (ValueError, RecursionError) as error:
        said = f"{shown(str(path))} is no JSON that holds rows: {error}."
        raise InvalidInputFile(said, "Write one object a line.") from error


def _first_sign(lines: TextIO) -> str:
    """The first character that is no space; empty where there is none."""
    while text := lines.read(4096):
        if sign := text.lstrip()[:1]:
            return sign
    return ""


def _lines(lines: TextIO, path: Path) -> Iterator[str]:
    while line := lines.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise InvalidInputFile(f"{shown(str(path))} has a line of more than 1 MiB.", "Write one object a line.")
        yield line


def _parsed(line: str, number: int) -> Any:
    try:
        return json.loads(line, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from error


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def _array(lines: TextIO) -> Iterator[Any]:
    """The values of a JSON array, one at a time. Raises ValueError."""
    text = _Text(lines)
    number, before = 0, "["
    while text.sign() == before:
        text.left = text.left[1:]
        if not number and text.sign() == "]":
            break
        number, before = number + 1, ","
        yield text.value(number)
    sign = text.sign()
    text.left = text.left[1:]
    if sign != "]" or text.sign():
        raise ValueError(f"behind value {number} no comma follows, and no end of the array")


class _Text:
    """The text of a file, read piece by piece: `left` was read and is not yet used, a value and a piece at most."""

    def __init__(self, lines: TextIO) -> None:
        self._lines, self.left = lines, ""
        self._decoder = json.JSONDecoder(parse_int=_whole)

    def _more(self) -> bool:
        piece = self._lines.read(PIECE_CHARACTERS)
        self.left += piece
        return bool(piece)

    def sign(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        self.left = self.left.lstrip()
        while not self.left and self._more():
            self.left = self.left.lstrip()
        return self.left[:1]

    def value(self, number: int) -> Any:
        """The next value, the file's `number`th."""
        self.sign()
        while True:
            try:
                value, end = self._decoder.raw_decode(self.left)
            except json.JSONDecodeError as error:
                if len(self.left) > MAX_LINE_CHARACTERS or not self._more():
                    raise ValueError(f"value {number}: {error}") from None
                continue
            if end < len(self.left) or not self._more():  # a number may go on in the next piece
                self.left = self.left[end:]
                return value


def _objects(values: Iterable[Any], path: Path) -> Iterator[dict[str, Any]]:
    for value in values:
        if not isinstance(value, dict):
            raise InvalidInputFile(f"{shown(str(path))} holds {shown(value)}.", "Write one JSON object a line.")
        if any(isinstance(cell, (dict, list)) and _is_deep(cell) for cell in value.values()):
            raise InvalidInputFile(f"{shown(str(path))} has a cell that nests deeper than {MAX_NESTING} levels.")
        yield value


def _is_deep(cell: Any) -> bool:
    level = [cell]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _csv_rows(lines: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    try:
        reader = csv.DictReader(lines, strict=True)
        if reader.fieldnames is None:
            raise InvalidInputFile(f"{shown(str(path))} is empty.", "Give a CSV file with a header, or JSON Lines.")
        missing = {"model", "device"} - set(reader.fieldnames)
        if missing:
            raise InvalidInputFile(
                f"{shown(str(path))} has no column {min(missing)!r}.",
                "The columns are those of data/measurements.csv; 'sizer import' makes rows of another tool's result.",
            )
        for row in reader:
            yield {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise InvalidInputFile(f"{shown(str(path))} is no CSV: {error}.", "Give a header and quoted cells.") from error
