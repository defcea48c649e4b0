"""The published model that a fine-tune's name says it was made from: Llama-3.1-8B of `Roleplay-Llama-3.1-8B`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from sizer.model.read.facts import usual_first
from sizer.model.read.name_parts import Parts, parts_of, word_roles
from sizer.model.read.names import LONGEST_NAME
from sizer.model.read.typed_names import published_names


@lru_cache(maxsize=256)
def built_on(name: str) -> str | None:
    """The id of the catalogued model that a name of another holds whole: its line with the version, and its size.

    Fine-tunes and merges keep the shape of what they were made from. None where the name holds no such line, where it
    holds two, where its version is left out, and with words of another shape (`vision`).
    """
    last = name.rpartition("/")[2]
    if len(last) > LONGEST_NAME:
        return None
    typed = parts_of(last)
    lines = _lines(typed)
    if len(lines) != 1 or not typed.sizes or set(typed.words) & set(word_roles()["unlike"]):
        return None
    versions = frozenset(typed.owned)
    found = [
        published
        for published in published_names()
        if not published.quantized
        and published.parts.sizes == typed.sizes
        and published.parts.dates <= typed.dates
        and _own_words(published.parts) == lines
        and frozenset(published.parts.owned) == versions
        and (versions or published.parts.numbers == ())
    ]
    shapes = {published.entry.config_file for published in found}
    totals = {published.entry.reference_params for published in found}
    if not found or not (versions or lines <= _WITHOUT_VERSION) or (len(shapes) > 1 and len(totals) > 1):
        return None
    return max((published.name for published in found), key=lambda name: (*usual_first(name), name))


_WITHOUT_VERSION = frozenset({"mixtral"})
"""Lines whose members of one size have one shape, whatever the version."""


def _lines(parts: Parts) -> frozenset[str]:
    """The lines of models that a name names."""
    return frozenset(parts.words) & (frozenset(word_roles()["underlying"]) - {"distill"})


def _own_words(parts: Parts) -> frozenset[str]:
    """The words of a published name without marks (`instruct`, `meta`)."""
    return frozenset(parts.words) - frozenset(word_roles()["omitted"]) - frozenset(word_roles()["base"])


def shares_line(name: str, published: str) -> bool:
    """Whether a name says a published model's line: its words, and the first number of its version (Llama-3.1-8B of a
    `Llama-3.3-8B`)."""
    typed, known = parts_of(name.rpartition("/")[2][:LONGEST_NAME]), parts_of(published.rpartition("/")[2])
    words = _own_words(known)
    if not words or not words <= frozenset(typed.words):
        return False
    if known.owned:
        return bool(_majors(known.owned) & _majors(typed.owned))
    versions = _majors(("", number) for number in known.numbers)
    return bool(versions & _majors(("", number) for number in typed.numbers)) or not (versions or typed.numbers)


def versions_apart(name: str, published: str) -> float:
    """How far apart the versions of a line are in a name and in a published one's: 0.2 of 3.3 and 3.1; 0 without."""
    typed, known = (_versions(text.rpartition("/")[2][:LONGEST_NAME]) for text in (name, published))
    return min((abs(one - other) for one in typed for other in known), default=0.0)


def _versions(name: str) -> list[float]:
    parts = parts_of(name)
    told = [number for _, number in parts.owned] or list(parts.numbers)
    return [float(number) for number in told if number.replace(".", "", 1).isdigit()]


def _majors(versions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Lines with the first numbers of their versions."""
    return {(line, number.partition(".")[0]) for line, number in versions}
