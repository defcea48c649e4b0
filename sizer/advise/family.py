"""Models of the same family in the catalogue: what to fall back to, and which draft could speed a model up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sizer.errors import ModelError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue


def relatives(architecture: Architecture) -> Iterator[Architecture]:
    """The catalogued models of the same organisation and type that are smaller, largest first."""
    organisation = architecture.model_id.rpartition("/")[0].lower()
    entries = [
        entry
        for entry in catalogue.entries()
        if (entry.reference_params or 0) < architecture.total_params
        and entry.model_id.rpartition("/")[0].lower() == organisation
    ]
    for entry in sorted(entries, key=lambda item: -(item.reference_params or 0)):
        with suppress(ModelError):
            yield build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
