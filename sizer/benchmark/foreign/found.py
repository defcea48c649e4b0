"""What a cell of another tool's file tells, and the bounded reading of its values."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass

LARGEST_TOKENS, LARGEST_FIGURE, LONGEST_TEXT = 10**9, 1e18, 400
"""Beyond any context, any figure and any name of a result file: what is larger is damaged."""


@dataclass(frozen=True, slots=True)
class Found:
    """One measured cell as a file tells it; empty or None where it does not tell.

    `decode_tokens_per_s` is that of all `batch` sequences together, as in `data/measurements.csv`. `context_tokens` lie
    in the cache when the timed phase starts. `batch` is None where nothing tells how many ran at once;
    `engine_flags` are what the file tells of the engine's own flags, as `--engine` takes them; `as_stored` is True
    where the engine, named by the file, loads the hub's checkpoint as it is stored.
    """

    engine: str = ""
    engine_version: str = ""
    backend: str = ""
    model: str = ""
    precision: str = ""
    precision_as_printed: str = ""
    device: str = ""
    device_count: int = 1
    parallelism: str = ""
    threads: int | None = None
    batch: int | None = 1
    prompt_tokens: int | None = None
    context_tokens: int | None = None
    output_tokens: int | None = None
    metric: str = "decode"
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    total_params_b: float | None = None
    active_params_b: float | None = None
    model_file_gib: float | None = None
    date: str = ""
    flags: frozenset[str] = frozenset()
    engine_flags: str = ""
    as_stored: bool = False


class Values:
    """Typed, bounded reading of one object of a file. Raises InvalidInputFile naming the field and its text."""

    def __init__(self, values: Mapping[str, Any], around: str = "") -> None:
        self.values = values
        self.around = around
        """The text that stands around a table: the devices and the build are told there."""

    def has(self, name: str) -> bool:
        """Whether the field is there and filled."""
        return self.values.get(name) not in (None, "")

    def text(self, name: str) -> str:
        """A short text; empty where there is none."""
        value = self.values.get(name)
        return "" if value is None or isinstance(value, (dict, list)) else " ".join(str(value)[:LONGEST_TEXT].split())

    def number(self, name: str) -> float | None:
        """A finite number from 0 up; None where the field is empty."""
        if not self.has(name):
            return None
        told = self.values[name]
        try:
            value = float(told) if not isinstance(told, bool) else float("nan")
        except (TypeError, ValueError, OverflowError):
            value = float("nan")
        if not isfinite(value) or not 0 <= value <= LARGEST_FIGURE:
            raise InvalidInputFile(f"{name} is {str(told)[:40]!r}, no figure.", "Was the file cut or edited?")
        return value

    def whole(self, name: str) -> int | None:
        """A whole number of tokens, sequences or threads."""
        value = self.number(name)
        if value is None:
            return None
        if value > LARGEST_TOKENS:
            raise InvalidInputFile(f"{name} is {value:g}, too large.", "Was the file cut or edited?")
        return round(value)

    def rate(self, name: str) -> float:
        """A speed, above 0; the cell is nothing without it."""
        value = self.number(name)
        if not value:
            raise InvalidInputFile(
                f"{name} is {self.text(name) or 'empty'!r}: nothing was timed.", "Measure that cell again."
            )
        return value

    def inside(self, *path: str) -> Values:
        """The object at a path of names; an empty one where it is not there."""
        here: Any = self.values
        for name in path:
            here = here.get(name) if isinstance(here, Mapping) else None
        return Values(here if isinstance(here, Mapping) else {}, self.around)
