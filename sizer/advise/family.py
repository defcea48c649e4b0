"""Models of the same family in the catalogue: what to fall back to, and which draft could speed a model up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sizer.errors import ModelError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import ModelFacts, facts, usual_first

ANSWERS_ALL = frozenset({"instruct", "reasoning", "base"})
"""Kinds of models that are made for no one task."""


def relatives(architecture: Architecture) -> Iterator[Architecture]:
    """The catalogued models of the same organisation that are smaller and made for the same: those of its own time
    first, the largest of them first; of one size the newest, and what answers a person before a base model."""
    own = facts(architecture.model_id)
    organisation = architecture.model_id.rpartition("/")[0].lower()
    entries = [
        entry
        for entry in catalogue.entries()
        if (entry.reference_params or 0) < architecture.total_params
        and entry.model_id.rpartition("/")[0].lower() == organisation
        and _made_for_the_same(facts(entry.model_id), own)
    ]
    for entry in sorted(entries, key=lambda entry: (_of_its_time(entry, own), *_order(entry)), reverse=True):
        with suppress(ModelError):
            yield build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)


def _of_its_time(entry: CatalogueEntry, own: ModelFacts | None) -> bool:
    """Whether a model came at most a year before one; where nobody told a date it is taken to."""
    other = facts(entry.model_id)
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


def _order(entry: CatalogueEntry) -> tuple[float, bool, str]:
    """Size in two digits (14.7 and 14.8 billion are one), then chat models, then release."""
    return float(f"{entry.reference_params or 0:.1e}"), *usual_first(entry.model_id)
