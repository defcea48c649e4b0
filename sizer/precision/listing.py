"""Every precision as one row: bits per weight, what it costs in quality, and who runs it."""

from __future__ import annotations

from sizer.formats import bits_hundredths, format_of
from sizer.frozen import dataclass
from sizer.precision.names import Precision, all_precisions, engines_of, precision_of
from sizer.precision.quality import quality
from sizer.precision.store import bits_per_weight


@dataclass(frozen=True, slots=True)
class Listed:
    """A precision for people to choose from.

    `bits_per_weight` is that of a whole model (Llama-3-8B), with scales and with what the scheme leaves in 16 bits;
    `format_bits_per_weight` that of the matrices it quantizes, scales included.
    """

    precision: str
    kind: str
    bits_per_weight: float
    format_bits_per_weight: float
    kl_divergence: float | None
    delta_perplexity: float | None
    engines: tuple[str, ...]
    description: str
    source: str


def listed(name: str) -> Listed:
    """The row of one precision. Raises UnknownPrecision."""
    row = precision_of(name)
    measured = quality(name)
    return Listed(
        row.name,
        row.kind,
        bits_per_weight(row),
        _format_bits(row),
        None if measured is None else measured.kl_divergence,
        None if measured is None else measured.delta_perplexity,
        engines_of(name),
        row.description,
        row.source,
    )


def _format_bits(row: Precision) -> float:
    """Bits a weight of a large matrix takes in the format, scales by block and group included."""
    if row.states_bits:
        return bits_hundredths(row.format.rpartition("-")[2]) / 100
    return format_of(row.format).bits_per_weight


def listing(text: str = "") -> tuple[Listed, ...]:
    """Every precision whose name, kind, description or engines hold every word of `text`, in the table's order."""
    words = text.lower().split()
    found = (listed(name) for name in all_precisions())
    return tuple(
        row
        for row in found
        if all(
            word in f"{row.precision} {row.kind} {row.description} {' '.join(row.engines)}".lower() for word in words
        )
    )
