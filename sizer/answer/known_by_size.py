"""Wider intervals for a model known by its size alone: how models of one size differ, measured on the catalogue."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, Basis
from sizer.speed.records import Decode, Prefill, Speed
from sizer.tables import read_rows


class SizeError(NamedTuple):
    """Ratios of a catalogued model's own figure to what its size alone tells, that nine of ten models lie within."""

    low: float
    high: float


class SizeRange(NamedTuple):
    """Bytes that nine of ten models of that size lie between."""

    low_bytes: int
    high_bytes: int


def is_by_size(architecture: Architecture) -> bool:
    """Whether the layers are another model's, scaled to the size that a name tells."""
    return architecture.basis is Basis.NAME and bool(architecture.layers)


@cache
def size_errors() -> dict[str, SizeError]:
    """By quantity (memory, decode, prefill): how a model's own figure compares with what its size alone tells."""
    return {row["quantity"]: SizeError(float(row["low"]), float(row["high"])) for row in read_rows("size_only.csv")}


def as_wide_as_sizes(speed: Speed, architecture: Architecture) -> Speed:
    """The speed, its intervals as wide as models of one size differ besides; any other model's stays."""
    if not is_by_size(architecture):
        return speed
    errors = size_errors()
    return speed._replace(
        decode=_wider(speed.decode, errors["decode"]), prefill=_wider(speed.prefill, errors["prefill"])
    )


Rate = TypeVar("Rate", Decode, Prefill)


def _wider(rate: Rate, error: SizeError) -> Rate:
    lower, upper = rate.low_tokens_per_s, rate.high_tokens_per_s
    return rate._replace(
        low_tokens_per_s=None if lower is None else lower * min(1.0, error.low),
        high_tokens_per_s=None if upper is None else upper * max(1.0, error.high),
    )


def memory_range(total_bytes: int, architecture: Architecture) -> SizeRange | None:
    """Where the total lies for nine of ten models of that size; None where the model itself is known."""
    if not is_by_size(architecture):
        return None
    error = size_errors()["memory"]
    return SizeRange(int(total_bytes * min(1.0, error.low)), int(total_bytes * max(1.0, error.high)))
