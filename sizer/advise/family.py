"""Models of the same family in the catalogue: what to fall back to, and which draft could speed a model up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sizer.errors import ModelError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import facts


def relatives(architecture: Architecture) -> Iterator[Architecture]:
    """The catalogued models of the same organisation that are smaller, largest first; of one size the newest, and what
    answers a person before a base model."""
    organisation = architecture.model_id.rpartition("/")[0].lower()
    entries = [
        entry
        for entry in catalogue.entries()
        if (entry.reference_params or 0) < architecture.total_params
        and entry.model_id.rpartition("/")[0].lower() == organisation
    ]
    for entry in sorted(entries, key=_order, reverse=True):
        with suppress(ModelError):
            yield build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)


def _order(entry: CatalogueEntry) -> tuple[float, bool, str]:
    """Size in two digits (14.7 and 14.8 billion are one), then chat models, then release."""
    known = facts(entry.model_id)
    size = float(f"{entry.reference_params or 0:.1e}")
    return size, known is not None and known.kind != "base", (known.released or "") if known else ""
