"""Models of the same family in the catalogue: what to fall back to, and which draft could speed a model up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache

from sizer.advise.ratings import OVERALL, rating_of
from sizer.errors import ModelError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import ModelFacts, facts, usual_first
from sizer.tables import read_rows

ANSWERS_ALL = frozenset({"instruct", "reasoning", "base"})
"""Kinds of models that are made for no one task."""


def relatives(architecture: Architecture) -> Iterator[Architecture]:
    """The known models of the same organisation that are smaller and made for the same: those of its own time first,
    the largest of them first; of one size the newest, and what answers a person before a base model.

    Names of one shape are one model: a name that people rated stands for it before the catalogue's own."""
    own = facts(architecture.model_id)
    organisation = architecture.model_id.rpartition("/")[0].lower()
    known = [
        (name, entry)
        for name, entry in catalogue.published()
        if (entry.reference_params or 0) < architecture.total_params
        and name.rpartition("/")[0].lower() == organisation
        and (name == entry.model_id or _rating(name))
        and not listing(name)
        and _made_for_the_same(facts(name), own)
    ]
    best: dict[str, tuple[str, CatalogueEntry]] = {}
    for name, entry in sorted(known, key=lambda item: (_rating(item[0]), *usual_first(item[0]))):
        best[entry.model_id] = name, entry
    order = sorted(best.values(), key=lambda item: (_of_its_time(item[0], own), *_order(*item)), reverse=True)
    for name, entry in order:
        with suppress(ModelError):
            yield replace(build(catalogue.load(entry), name, Basis.CATALOGUE), model_id=name)


def _rating(name: str) -> float:
    """The rating that people gave a model's answers, 0 where none is known."""
    rating = rating_of(name, OVERALL)
    return rating.rating if rating else 0.0


def listing(model_id: str) -> str:
    """How a model is listed among others: `never`, `copy` (only where no original has its shape), or empty."""
    name = model_id.lower()
    return next((listed for pattern, listed in _listings() if fnmatchcase(name, pattern)), "")


@cache
def _listings() -> tuple[tuple[str, str], ...]:
    return tuple((row["pattern"].lower(), row["listing"]) for row in read_rows("fit_listing.csv"))


def _of_its_time(name: str, own: ModelFacts | None) -> bool:
    """Whether a model came at most a year before one; where nobody told a date it is taken to."""
    other = facts(name)
    if own is None or other is None or not own.released or not other.released:
        return True
    year_before = f"{int(own.released[:4]) - 1}{own.released[4:7]}"
    return other.released >= year_before


def _made_for_the_same(other: ModelFacts | None, own: ModelFacts | None) -> bool:
    """Whether a smaller model can stand for one: with no eyes, embeddings or code alone that nobody asked for."""
    if other is None:
        return True
    if other.images and not (own is not None and own.images):
        return False
    return other.kind in ANSWERS_ALL or (own is not None and own.kind == other.kind)


def _order(name: str, entry: CatalogueEntry) -> tuple[float, bool, str]:
    """Size in two digits (14.7 and 14.8 billion are one), then chat models, then release."""
    return float(f"{entry.reference_params or 0:.1e}"), *usual_first(name)
