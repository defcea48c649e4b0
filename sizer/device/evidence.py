"""How a fact about this machine is known: who said it, and whether another source says otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.frozen import NamedTuple
from sizer.units import GIB

# Two readings of one memory differ by what the driver, the firmware or ECC keeps.
MEMORY_AGREEMENT = 0.12


LARGEST_MEMORY_BYTES = 2**50
"""A pebibyte: more is a damaged figure."""


class Evidence(NamedTuple):
    """One fact of this machine: what, its value for people, and its source (driver, file, table or measurement)."""

    fact: str
    value: str
    source: str


class Reading(NamedTuple):
    """A size that one source tells, None where it does not."""

    source: str
    size_bytes: int | None


class Agreed(NamedTuple):
    """The size that is taken, who told it, and what the others say where they differ."""

    size_bytes: int | None
    source: str
    contradiction: str = ""


def plausible(size_bytes: int | None) -> int | None:
    """A size that a memory can have, None for any other that a tool gone wrong prints."""
    return size_bytes if size_bytes is not None and 0 < size_bytes <= LARGEST_MEMORY_BYTES else None


def agree(what: str, readings: Iterable[Reading]) -> Agreed:
    """The first known reading, in order of trust; a further one that differs by more than an eighth is told."""
    known = [reading for reading in readings if plausible(reading.size_bytes)]
    if not known:
        return Agreed(None, "")
    first, *others = known
    assert first.size_bytes is not None
    for other in others:
        assert other.size_bytes is not None
        sizes = (first.size_bytes, other.size_bytes)
        if min(sizes) < (1 - MEMORY_AGREEMENT) * max(sizes):
            told = f"{first.source} says {_shown(first.size_bytes)}, {other.source} says {_shown(other.size_bytes)}"
            return Agreed(first.size_bytes, first.source, f"{what}: {told}; the first is taken")
    return Agreed(first.size_bytes, first.source)


def _shown(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.4g} GiB"
