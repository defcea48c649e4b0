"""Rows of measured speeds: read from CSV or JSON Lines, nothing looked up yet."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from sizer.errors import InvalidInputFile

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
    }
)
"""Rows with one of these measure something else than a single request that the device alone serves."""

MAX_FILE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row, as read: texts as they stand, numbers where they are numbers (`bad` names those that are not).

    `model` is the checkpoint that ran where a column `checkpoint` names it. `tokens_a_step` above 1 is a verification:
    each step runs so many tokens of a sequence, and `decode_tokens_per_s` counts them all.
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
    flags: frozenset[str]
    bad: str
    row: Mapping[str, Any]


class _Numbers:
    """Reads the numbers of one row; remembers the first cell that is none."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.bad = ""

    def number(self, column: str) -> float | None:
        """The number of a cell; None where it is empty, or is no finite positive number (then `bad` says so)."""
        cell = self.row.get(column)
        if cell is None or str(cell).strip() == "":
            return None
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = float("nan")
        if isfinite(value) and value >= 0:
            return value
        self.bad = self.bad or f"{column} is {str(cell)[:40]!r}, no number"
        return None

    def whole(self, column: str) -> int | None:
        """A whole number of a cell."""
        value = self.number(column)
        if value is not None and value > 1e9:
            self.bad = self.bad or f"{column} is {value:g}, too large"
            return None
        return None if value is None else int(value)

    def at_least_one(self, column: str) -> int:
        """A whole number from 1 up; 1 where the cell is empty."""
        value = self.whole(column)
        if value == 0:
            self.bad = self.bad or f"{column} is 0, which runs nothing"
        return value or 1


def read_measurements(path: Path) -> list[Measurement]:
    """The rows of a CSV or JSON Lines file. InvalidInputFile where it cannot be read as rows."""
    if not path.is_file():
        raise InvalidInputFile(f"{str(path)!r} is no file.", "Give a CSV file with a header, or JSON Lines.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInputFile(f"{str(path)!r} is larger than 1 GiB.", "Split it.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputFile(f"{str(path)!r} is not UTF-8 text.", "Save it as UTF-8 CSV or JSON Lines.") from error
    rows = _json_lines(text, path) if text.lstrip()[:1] in {"{", "["} else _csv_rows(text, path)
    return [measurement(row, number) for number, row in enumerate(rows, 1)]


def _csv_rows(text: str, path: Path) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(text.splitlines(), strict=True)
        rows = [{key: value for key, value in row.items() if key is not None} for row in reader]
    except csv.Error as error:
        raise InvalidInputFile(f"{str(path)!r} is no CSV: {error}.", "Give a header and quoted cells.") from error
    missing = {"model", "device"} - set(reader.fieldnames or ())
    if missing:
        raise InvalidInputFile(
            f"{str(path)!r} has no column {min(missing)!r}.", "The columns are those of data/measurements.csv."
        )
    return rows


def _json_lines(text: str, path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    try:
        values = (
            json.loads(text) if text.lstrip()[:1] == "[" else [json.loads(s) for s in text.splitlines() if s.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise InvalidInputFile(f"{str(path)!r} is no JSON Lines: {error}.", "Write one object a line.") from error
    for value in values:
        if not isinstance(value, dict):
            raise InvalidInputFile(f"{str(path)!r} holds {str(value)[:40]!r}.", "Write one JSON object a line.")
        rows.append(value)
    return rows


def measurement(row: Mapping[str, Any], number: int = 0) -> Measurement:
    """One row as a record; nothing is looked up yet."""
    numbers = _Numbers(row)
    flags = frozenset(flag.strip() for flag in _text(row, "flags").split("|") if flag.strip())
    name = _text(row, "id") or f"row-{number}"
    return Measurement(
        id=name,
        source=_source(name, row),
        engine=_text(row, "engine"),
        engine_version=_text(row, "engine_version"),
        backend=_text(row, "backend"),
        model=_text(row, "checkpoint") or _text(row, "model"),
        precision=_text(row, "precision"),
        precision_as_printed=_text(row, "precision_as_printed"),
        device=_text(row, "device"),
        device_count=numbers.at_least_one("device_count"),
        parallelism=_text(row, "parallelism"),
        threads=numbers.whole("threads") or None,
        batch=numbers.at_least_one("batch"),
        tokens_a_step=numbers.at_least_one("tokens_a_step"),
        prompt_tokens=numbers.whole("prompt_tokens"),
        context_tokens=numbers.whole("context_tokens"),
        output_tokens=numbers.whole("output_tokens"),
        metric=_text(row, "metric") or "decode",
        prefill_tokens_per_s=numbers.number("prefill_tokens_per_s"),
        decode_tokens_per_s=numbers.number("decode_tokens_per_s"),
        memory_gib=numbers.number("memory_gib"),
        total_params_b=numbers.number("total_params_b"),
        active_params_b=numbers.number("active_params_b"),
        model_file_gib=numbers.number("model_file_gib"),
        flags=flags,
        bad=numbers.bad,
        row=row,
    )


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _source(name: str, row: Mapping[str, Any]) -> str:
    """Where a row comes from: the part of its id before the number, else its address."""
    return name.rsplit("-", 1)[0] if re.search(r"-\d+$", name) else _text(row, "source_url") or "unnamed"
