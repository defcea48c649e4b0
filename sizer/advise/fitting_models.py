"""The catalogue against a machine: what runs, at which precision, how fast, with how much room left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from sizer.advise.advice import questions_for, usual_workload
from sizer.advise.licenses import ANY_LICENSE, Licenses
from sizer.advise.loss import layer_params, least_bits
from sizer.advise.recommend import Wanted
from sizer.advise.search import best_of, best_split, host_room, room
from sizer.answer.records import Estimate
from sizer.device.records import Target
from sizer.errors import ModelError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.tables import read_rows
from sizer.workload import Workload


@dataclass(frozen=True, slots=True)
class Filter:
    """Which catalogued models to look at: words of the name or type, sparse ones only, licences, and split ones too.

    A model whose licence is not known has none of `licenses`. `splits` adds what runs only with a part on the host.
    """

    family: str = ""
    moe_only: bool = False
    licenses: Licenses = ANY_LICENSE
    splits: bool = False


def fitting(
    target: Target, workload: Workload, wanted: Wanted, *, engine: str | None, keep: Filter, context_asked: bool
) -> list[Estimate]:
    """The best estimate of each catalogued model that the target runs whole, or split where asked, largest model first.

    A context that was not asked for is the usual one, or the model's own where that is shorter; a model whose own
    context is shorter than the one asked for is left out.
    """
    found = []
    room_bytes = room(target)
    if room_bytes is not None and keep.splits:
        room_bytes += host_room(target)
    for architecture in _candidates(room_bytes, wanted, keep):
        longest = architecture.max_context_tokens
        if context_asked and longest is not None and longest < workload.context_tokens:
            continue
        asked = usual_workload(architecture, workload, context_asked)
        questions = questions_for(architecture, target, asked, engine)
        chosen = best_of(questions, wanted)
        if chosen is None and keep.splits:
            chosen = best_split(questions, wanted)
        if chosen is not None:
            found.append(chosen)
    return sorted(found, key=lambda item: (-item.architecture.total_params, item.architecture.model_id))


def _candidates(room_bytes: int | None, wanted: Wanted, keep: Filter) -> Iterator[Architecture]:
    """The catalogued models that could fit, built: of those of one shape, an original before an altered or quantized
    copy."""
    by_shape: dict[tuple[str, int], tuple[tuple[bool, bool], Architecture]] = {}
    bits = least_bits(wanted.max_loss) if wanted.max_loss is not None else 0.0
    for entry in _entries(keep):
        architecture = _built(entry)
        if architecture is None or (keep.moe_only and architecture.experts is None):
            continue
        smallest_bytes = bits / 8 * layer_params(architecture)
        if room_bytes is not None and architecture.quantization is None and smallest_bytes > room_bytes:
            continue
        shape = (architecture.architecture, architecture.total_params)
        rank = (_listing(entry.model_id) == "copy", architecture.quantization is not None)
        if shape not in by_shape or rank < by_shape[shape][0]:
            by_shape[shape] = (rank, architecture)
    yield from (architecture for _, architecture in by_shape.values())


@cache
def _listings() -> tuple[tuple[str, str], ...]:
    return tuple((row["pattern"].lower(), row["listing"]) for row in read_rows("fit_listing.csv"))


def _listing(model_id: str) -> str:
    """How `fit` lists a model: `never`, `copy` (only where no original has its shape), or empty."""
    name = model_id.lower()
    return next((listing for pattern, listing in _listings() if fnmatchcase(name, pattern)), "")


def _entries(keep: Filter) -> Iterator[CatalogueEntry]:
    entries = catalogue.search(keep.family) if keep.family else catalogue.entries()
    yield from (
        entry for entry in entries if _listing(entry.model_id) != "never" and keep.licenses.allow(entry.model_id)
    )


def _built(entry: CatalogueEntry) -> Architecture | None:
    try:
        return build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
    except ModelError:
        return None
