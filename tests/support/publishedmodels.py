"""Models as published: those of the catalogue, and tables of counts beside the configs that tests keep."""

from __future__ import annotations

import csv
from pathlib import Path

from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue


def catalogued(model_id: str) -> Architecture:
    """A model of the catalogue."""
    entry = catalogue.find(model_id)
    assert entry is not None
    return build(catalogue.load(entry), model_id, Basis.CATALOGUE)


def published(folder: Path) -> list[dict[str, str]]:
    """The published models of a folder: their configs and counts."""
    with (folder / "published.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
