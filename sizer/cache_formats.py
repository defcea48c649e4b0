"""Formats that cached keys and values are stored in: rows of `data/kv_formats.csv`."""

from __future__ import annotations

from functools import cache

from sizer.errors import UnknownPrecision, did_you_mean
from sizer.frozen import dataclass
from sizer.tables import read_rows


@dataclass(frozen=True, slots=True)
class CacheFormat:
    """How cached values are stored: `block_bytes` for every `block_values` values of a row."""

    key: str
    block_values: int
    block_bytes: int

    def row_bytes(self, values: int) -> int:
        """Bytes of one row of `values` values, rounded up to whole blocks."""
        return -(-values // self.block_values) * self.block_bytes

    def as_small_as(self, other: CacheFormat) -> bool:
        """Whether whole blocks of both take the same bytes a value."""
        return self.block_bytes * other.block_values == other.block_bytes * self.block_values


@cache
def cache_formats() -> dict[str, CacheFormat]:
    """The cache formats of `data/kv_formats.csv` by key."""
    return {
        row["key"]: CacheFormat(row["key"], int(row["block_values"]), int(row["block_bytes"]))
        for row in read_rows("kv_formats.csv")
    }


@cache
def _spellings() -> dict[str, str]:
    """The key of every name that engines have for a format."""
    return {name: row["key"] for row in read_rows("kv_formats.csv") for name in (row["key"], *row["aliases"].split())}


def cache_format(name: str) -> CacheFormat:
    """The cache format of a name, an engine's own included; UnknownPrecision with the nearest names otherwise."""
    if not isinstance(name, str):
        raise UnknownPrecision(f"unknown --kv-precision {name!r}.", f"Known: {', '.join(cache_formats())}.")
    key = _spellings().get(name.strip().lower())
    if key is None:
        hint = did_you_mean(name.lower(), cache_formats()) or f"Known: {', '.join(cache_formats())}."
        raise UnknownPrecision(f"unknown --kv-precision {name!r}.", hint)
    return cache_formats()[key]
