"""Rows of measured speeds: read from CSV or JSON Lines, nothing looked up yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from sizer.calibrate.row_files import RowFile, open_rows
from sizer.engine.releases import foreign_count
from sizer.frozen import dataclass
from sizer.printable import shown

EXCLUDING_FLAGS = frozenset(
    {
        "aggregate",
        "max_load",
        "speculative",
        "suspect",
        "offload",
        "host_limited",
        "forked_kernels",
        "few_threads",
        "verification",
        "drafted",
    }
)
"""Rows with one of these measure something else than a single request that the device alone serves."""

LEAST, MOST = 1e-9, 1e15
"""Numbers outside are no count, size or speed of anything, and ratios of them no numbers."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One row, as read: texts as they stand, numbers where they are numbers (`bad` names those that are not).

    `model` is the checkpoint that ran where a column `checkpoint` names it. `tokens_a_step` above 1 is a verification:
    each step runs so many tokens of a sequence, and `decode_tokens_per_s` counts them all; the output head runs for
    `outputs_a_step` of them (None: for each). `over_one` is the time of such a step over that of one token, where no
    speed is told.
    """

    id: str
    source: str
    engine: str
    engine_version: str
    backend: str
    model: str
    precision: str
    precision_as_printed: str
    device: str
    device_count: int
    parallelism: str
    threads: int | None
    batch: int
    tokens_a_step: int
    outputs_a_step: int | None
    over_one: float | None
    prompt_tokens: int | None
    context_tokens: int | None
    output_tokens: int | None
    metric: str
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    memory_gib: float | None
    total_params_b: float | None
    active_params_b: float | None
    model_file_gib: float | None
    power_limit_w: float | None
    flags: frozenset[str]
    bad: str
    row: Mapping[str, Any]

    @property
    def is_measured(self) -> bool:
        """Whether anything was measured."""
        return any((self.decode_tokens_per_s, self.over_one, self.prefill_tokens_per_s, self.memory_gib))


class _Cells:
    """Reads the cells of one row; remembers the first that is not what its column holds."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.bad = ""

    def text(self, column: str) -> str:
        """The text of a cell; half a character (a lone surrogate) is none."""
        text = _text(self.row, column)
        if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            self.bad = self.bad or f"{column} is {shown(text)}, no text"
        return text

    def number(self, column: str) -> float | None:
        """The number of a cell; None where it is empty, or is no finite positive number (then `bad` says so)."""
        cell = self.row.get(column)
        if cell is None or cell == "" or str(cell).strip() == "":
            return None
        try:
            value = float("nan") if isinstance(cell, bool) else float(cell)
        except (TypeError, ValueError, OverflowError):
            value = float("nan")
        if value == 0 or LEAST <= value <= MOST:
            return value
        small, large = 0 < value < LEAST, value > MOST and isfinite(value)
        why = "too small" if small else "too large" if large else "below 0" if value < 0 else "no number"
        self.bad = self.bad or f"{column} is {str(cell)[:40]!r}, {why}"
        return None

    def whole(self, column: str) -> int | None:
        """A whole number of a cell."""
        value = self.number(column)
        if value is not None and value > 1e9:
            self.bad = self.bad or f"{column} is {value:g}, too large"
            return None
        return None if value is None else int(value)

    def at_least_one(self, column: str) -> int:
        """A whole number from 1 up; 1 where the cell is empty. Half a device or sequence is an error."""
        value = self.whole(column)
        if value is not None and value != self.number(column):
            self.bad = self.bad or f"{column} is {str(self.row.get(column))[:40]!r}, no whole number"
        if value == 0:
            self.bad = self.bad or f"{column} is 0, which runs nothing"
        return value or 1


def read_measurements(path: Path) -> list[ReadRow]:
    """The rows of a CSV or JSON Lines file. InvalidInputFile where it cannot be read as rows."""
    return list(stream_measurements(open_rows(path)))


def stream_measurements(file: RowFile) -> Iterator[ReadRow]:
    """The rows of a checked file, one at a time."""
    for number, row in enumerate(file.rows(), 1):
        yield measurement(row, number)


def measurement(row: Mapping[str, Any], number: int = 0) -> ReadRow:
    """One row as a record; nothing is looked up yet."""
    cells = _Cells(row)
    flags = frozenset(flag.strip() for flag in cells.text("flags").split("|") if flag.strip())
    name = cells.text("id") or f"row-{number}"
    return ReadRow(
        id=name,
        source=_source(name, row),
        engine=cells.text("engine"),
        engine_version=_release(cells.text("engine"), cells.text("engine_version"), cells.text("source_date")),
        backend=cells.text("backend"),
        model=cells.text("checkpoint") or cells.text("model"),
        precision=cells.text("precision"),
        precision_as_printed=cells.text("precision_as_printed"),
        device=cells.text("device"),
        device_count=cells.at_least_one("device_count"),
        parallelism=cells.text("parallelism"),
        threads=cells.whole("threads") or None,
        batch=cells.at_least_one("batch"),
        tokens_a_step=cells.at_least_one("tokens_a_step"),
        outputs_a_step=cells.whole("outputs_a_step"),
        over_one=cells.number("over_one"),
        prompt_tokens=cells.whole("prompt_tokens"),
        context_tokens=cells.whole("context_tokens"),
        output_tokens=cells.whole("output_tokens"),
        metric=cells.text("metric") or "decode",
        prefill_tokens_per_s=cells.number("prefill_tokens_per_s"),
        decode_tokens_per_s=cells.number("decode_tokens_per_s"),
        memory_gib=cells.number("memory_gib"),
        total_params_b=cells.number("total_params_b"),
        active_params_b=cells.number("active_params_b"),
        model_file_gib=cells.number("model_file_gib"),
        power_limit_w=cells.number("power_limit_w"),
        flags=flags,
        bad=cells.bad,
        row=row,
    )


def _release(engine: str, version: str, date: str) -> str:
    """The version that a row tells; empty where its number is another's count: there the date tells."""
    return "" if foreign_count(engine, version, date) else version


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _source(name: str, row: Mapping[str, Any]) -> str:
    """Where a row comes from: the part of its id before the number, else its address."""
    return name.rsplit("-", 1)[0] if re.search(r"-\d+$", name) else _text(row, "source_url") or "unnamed"
