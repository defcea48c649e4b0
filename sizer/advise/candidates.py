"""Which catalogued models come into question on a machine: by name, age, licence and rating, one a shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

from sizer.advise.family import listing
from sizer.advise.licenses import ANY_LICENSE, Licenses
from sizer.advise.ratings import OVERALL, Rating, rating_of
from sizer.advise.recommend import Wanted
from sizer.answer.loss import layer_params, least_bits
from sizer.errors import ModelError, UsageError
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import facts
from sizer.model.read.published import gguf_repositories
from sizer.tables import read_rows

CHAT_KINDS = frozenset({"instruct", "reasoning"})
"""Kinds of model that answer a person: what is listed unless all are asked for."""
RECENT_YEARS = 2
"""How much older than the catalogue's newest a model may be and still be listed unasked."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which catalogued models to look at, and by whose rating they are ordered.

    `family` are words of the name or type; a model whose licence is not known has none of `licenses`. `splits` adds
    what runs only with a part on the host. Unless `everything` is asked for, models that answer a person, recent, not
    superseded, and rated or published as GGUF by somebody who makes such files: what people run; embedders only with
    everything. `since` (YYYY, YYYY-MM or YYYY-MM-DD) sets how old they may be. `category` is the arena's. Raises
    UsageError for a `since` that is no date.
    """

    family: str = ""
    moe_only: bool = False
    licenses: Licenses = ANY_LICENSE
    splits: bool = False
    everything: bool = False
    since: str = ""
    category: str = OVERALL

    def __post_init__(self) -> None:
        if self.since and not re.fullmatch(r"20\d\d(-(0[1-9]|1[0-2])(-([0-2]\d|3[01]))?)?", self.since):
            raise UsageError(f"since is {self.since!r}.", "Write a date: 2025, 2025-06 or 2025-06-30.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A published name with its model's shape and what is known of it."""

    model_id: str
    entry: CatalogueEntry
    released: str
    kind: str
    rating: Rating | None

    @property
    def order(self) -> tuple[float, bool, str, str]:
        """Best last: by rating where there is one, a maker's own before what others made of it, then by release."""
        known = line_of(self.model_id) in rated_lines()
        return (self.rating.rating if self.rating else 0.0, known, self.released, self.model_id)


def candidates(room_bytes: int | None, wanted: Wanted, keep: Filter) -> Iterator[tuple[Candidate, Architecture]]:
    """The models that could fit, built, one a shape: of the names of one shape the best rated, then a known line's,
    then the newest; an original before an altered or quantized copy."""
    bits = least_bits(wanted.max_loss) if wanted.max_loss is not None else 0.0
    by_shape: dict[tuple[str, int], tuple[tuple[bool, bool, bool], Candidate, Architecture]] = {}
    for candidate in _best_names(_names(keep)):
        architecture = _built(candidate)
        if architecture is None or (keep.moe_only and architecture.experts is None):
            continue
        if not architecture.decodes and not keep.everything:
            continue
        smallest_bytes = bits / 8 * layer_params(architecture)
        if room_bytes is not None and architecture.quantization is None and smallest_bytes > room_bytes:
            continue
        shape = (architecture.architecture, architecture.total_params)
        copy = listing(candidate.model_id) == "copy"
        rank = (copy, candidate.rating is None, architecture.quantization is not None)
        known = by_shape.get(shape)
        if known is None or rank < known[0] or (rank == known[0] and candidate.order > known[1].order):
            by_shape[shape] = (rank, candidate, architecture)
    yield from ((candidate, architecture) for _, candidate, architecture in by_shape.values())


def _names(keep: Filter) -> Iterator[Candidate]:
    """The published names that are asked for."""
    words = keep.family.lower().split()
    oldest = keep.since or ("" if keep.everything else _recent())
    for name, entry in catalogue.published():
        text = f"{name} {entry.architecture}".lower()
        if listing(name) == "never" or not all(word in text for word in words) or not keep.licenses.allow(name):
            continue
        known = facts(name)
        released, kind = (known.released or "", known.kind) if known else ("", "")
        if released < oldest or not (keep.everything or kind in CHAT_KINDS):
            continue
        rating = rating_of(name, keep.category)
        if not keep.everything and rating is None and not gguf_repositories(name):
            continue
        yield Candidate(name, entry, released, kind, rating)


def _best_names(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One name for each catalogued shape: the best rated, else the newest."""
    best: dict[str, Candidate] = {}
    for candidate in candidates:
        shape = candidate.entry.model_id
        if shape not in best or candidate.order > best[shape].order:
            best[shape] = candidate
    return list(best.values())


@cache
def _recent() -> str:
    """The oldest release that counts as recent: two years before the catalogue's newest."""
    newest = max(row["released"] for row in read_rows("model_facts.csv"))
    return f"{int(newest[:4]) - RECENT_YEARS}{newest[4:]}"


def _built(candidate: Candidate) -> Architecture | None:
    try:
        built = build(catalogue.load(candidate.entry), candidate.model_id, Basis.CATALOGUE)
    except ModelError:
        return None
    return built if built.model_id == candidate.model_id else replace(built, model_id=candidate.model_id)


@cache
def rated_lines() -> frozenset[tuple[str, str]]:
    """The lines that people know by a rating."""
    return frozenset(line_of(row["model"]) for row in read_rows("arena_models.csv"))


def line_of(model_id: str) -> tuple[str, str]:
    """A maker's line of models: the organisation and the first word of the name (`qwen` of Qwen2.5-7B)."""
    organisation, _, name = model_id.lower().rpartition("/")
    word = re.match(r"(?:meta-)?([a-z]+)", name)
    return organisation, word[1] if word else name
