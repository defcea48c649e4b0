"""What a precision costs in quality: KL divergence from the 16-bit model, where a source measured it.

`data/quality.csv` is llama.cpp's own table for Llama-3-8B. Of the two rows that some types have, the default is the one
most files are made by: without an importance matrix from four bits on, with one below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import exp, log

from sizer.precision.names import Precision, precision_of

# Blocks of 32 without k-quants' two-level scales: worse than others of their size, so no guide for other schemes.
LEGACY = frozenset({"q4_0", "q4_1", "q5_0", "q5_1"})
SIXTEEN_BITS = 16.0


@dataclass(frozen=True, slots=True)
class Quality:
    """One measured row: what the precision costs on the model it was measured with."""

    precision: str
    imatrix: bool
    model: str
    kl_divergence: float
    delta_perplexity: float
    size_gib: float | None
    usual: bool
    source: str


@lru_cache(maxsize=1)
def rows() -> tuple[Quality, ...]:
    """The rows of the table."""
    from sizer.tables import read_rows

    return tuple(
        Quality(
            row["precision"],
            row["imatrix"] == "yes",
            row["model"],
            float(row["kl_divergence"]),
            float(row["delta_perplexity"]),
            float(row["size_gib"]) if row["size_gib"] else None,
            row["usual"] == "yes",
            row["source"],
        )
        for row in read_rows("quality.csv")
    )


def quality(precision: str, *, imatrix: bool | None = None) -> Quality | None:
    """The measured quality of a precision, or None where no source has it. Raises UnknownPrecision.

    `imatrix` asks for the row with or without an importance matrix; by default the usual one.
    """
    name = _measured_name(precision_of(precision))
    return next(
        (row for row in rows() if row.precision == name and (row.usual if imatrix is None else row.imatrix is imatrix)),
        None,
    )


def _measured_name(row: Precision) -> str:
    """The name that the table has: interleaved types hold the same values, short names the same file."""
    if row.kind == "gguf-repacked":
        return row.name.rsplit("_r", 1)[0]
    return row.ftype.lower() if row.kind == "gguf" else row.name


def kl_divergence(precision: str) -> float | None:
    """Mean KL divergence from the 16-bit model, or None where no source measured it. Raises UnknownPrecision."""
    found = quality(precision)
    return None if found is None else found.kl_divergence


def on_curve(curve: Sequence[tuple[float, float]], bits_per_weight: float) -> float:
    """The divergence at these bits per weight on a curve of (bits, divergence), most bits first.

    Log-linear between its points, its ends beyond them, none from 16 bits on.
    """
    if bits_per_weight >= SIXTEEN_BITS:
        return 0.0
    for (upper, less), (lower, more) in pairwise(curve):
        if lower <= bits_per_weight <= upper:
            share = (upper - bits_per_weight) / (upper - lower) if upper > lower else 0.0
            return exp(log(less) + share * (log(more) - log(less)))
    return curve[0][1] if bits_per_weight > curve[0][0] else curve[-1][1]
