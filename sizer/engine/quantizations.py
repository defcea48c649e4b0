"""What `--quantization` means: rows of `data/quantization_flags.csv`."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sizer.tables import read_rows


class QuantizationFlag(NamedTuple):
    """One word of `--quantization`: the methods of files that it goes with, and what it makes of plain floats.

    `files` are names of `quant_method` with dashes, `*` for all; `makes` is a precision, empty where only files made
    beforehand have it.
    """

    files: frozenset[str]
    makes: str

    def goes_with(self, methods: frozenset[str]) -> bool:
        """Whether it goes with a checkpoint of one of these methods."""
        return "*" in self.files or bool(self.files & methods)


@cache
def quantization_flags() -> dict[str, QuantizationFlag]:
    """By the engines' word."""
    return {
        row["word"]: QuantizationFlag(frozenset(row["files"].split()), row["makes"])
        for row in read_rows("quantization_flags.csv")
    }
