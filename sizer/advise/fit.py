"""The catalogue against a machine: what runs, at which precision, how fast, with how much room left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sizer.advise.advice import questions_for, usual_workload
from sizer.advise.recommend import Wanted, choose
from sizer.device.records import Target
from sizer.errors import ModelError
from sizer.estimate.estimate import estimate
from sizer.estimate.records import Estimate
from sizer.estimate.shares import usable_memory_bytes
from sizer.estimate.workload import Workload
from sizer.model import catalogue
from sizer.model.architecture import Architecture, Basis
from sizer.model.catalogue import CatalogueEntry
from sizer.model.families import build

LEAST_BITS_PER_WEIGHT = 2.0
"""Below the smallest rung of any ladder: a model that is too large even at this is not looked at further."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which catalogued models to look at: words of the name or type, sparse ones only, and the licence is not known."""

    family: str = ""
    moe_only: bool = False


def fitting(
    target: Target, workload: Workload, wanted: Wanted, *, engine: str | None, keep: Filter, context_asked: bool
) -> list[Estimate]:
    """The best estimate of each catalogued model that the target holds whole, largest model first.

    A context that was not asked for is the usual one, or the model's own where that is shorter; a model whose own
    context is shorter than the one asked for is left out.
    """
    found = []
    for architecture in _candidates(_room(target), keep):
        longest = architecture.max_context_tokens
        if context_asked and longest is not None and longest < workload.context_tokens:
            continue
        asked = usual_workload(architecture, workload, context_asked)
        chosen = choose([estimate(item) for item in questions_for(architecture, target, asked, engine)], wanted)
        if chosen is not None:
            found.append(chosen)
    return sorted(found, key=lambda item: (-item.architecture.total_params, item.architecture.model_id))


def _room(target: Target) -> int | None:
    sizes = [usable_memory_bytes(target, device) for device in (*(target.device,) * target.count, *target.others)]
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    return sum(known) if len(known) == len(sizes) else None


def _candidates(room_bytes: int | None, keep: Filter) -> Iterator[Architecture]:
    """The catalogued models that could fit, one of each shape, built."""
    seen: set[tuple[str, int]] = set()
    for entry in _entries(room_bytes, keep):
        architecture = _built(entry)
        if architecture is None or (keep.moe_only and architecture.experts is None):
            continue
        shape = (architecture.architecture, architecture.total_params)
        if shape not in seen:
            seen.add(shape)
            yield architecture


def _entries(room_bytes: int | None, keep: Filter) -> Iterable[CatalogueEntry]:
    entries = catalogue.search(keep.family) if keep.family else catalogue.entries()
    for entry in entries:
        least_bytes = (entry.reference_params or 0) * LEAST_BITS_PER_WEIGHT / 8
        if room_bytes is None or least_bytes <= room_bytes:
            yield entry


def _built(entry: CatalogueEntry) -> Architecture | None:
    try:
        return build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
    except ModelError:
        return None
