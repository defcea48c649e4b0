"""What `--quantization` means to an engine: rows of `data/quantization_flags.csv`."""

from __future__ import annotations

from functools import cache

from sizer.errors import UnknownPrecision
from sizer.frozen import NamedTuple
from sizer.precision.names import canonical
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
def _words() -> dict[tuple[str, str], QuantizationFlag]:
    """By engine and its word; words that engines share have no engine."""
    return {
        (row["engine"], row["word"]): QuantizationFlag(frozenset(row["files"].split()), row["makes"])
        for row in read_rows("quantization_flags.csv")
    }


def quantization_flag(engine: str, word: str) -> QuantizationFlag | None:
    """A word as an engine reads it: its own row, else the one that engines share; None for a word that no row has."""
    return _words().get((engine, word)) or _words().get(("", word))


def made_online(engine: str, word: str) -> str | None:
    """The precision that a word of `--quantization` makes of plain floats: of its row, else the one that it names.

    Empty for a word that only names files' own layout; None for a word that nobody knows.
    """
    known = quantization_flag(engine, word)
    if known is not None:
        return known.makes
    try:
        return canonical(word)
    except UnknownPrecision:
        return None
