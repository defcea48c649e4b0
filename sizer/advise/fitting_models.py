"""The catalogue against a machine: what runs, at which precision, how fast, best first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from sizer.advise.advice import questions_for, usual_workload
from sizer.advise.family import listing
from sizer.advise.licenses import ANY_LICENSE, Licenses
from sizer.advise.ratings import OVERALL, Rating, rating_of
from sizer.advise.recommend import Wanted, slower_than_reading
from sizer.advise.search import best_of, best_split, host_room, room
from sizer.answer.loss import layer_params, least_bits
from sizer.answer.records import Estimate
from sizer.device.records import Target
from sizer.engine.model_classes import no_code
from sizer.engine.options import EngineOptions
from sizer.errors import ModelError, UnknownEngine, UsageError
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import facts
from sizer.model.read.published import gguf_repositories
from sizer.tables import read_rows
from sizer.units import GIB
from sizer.workload import Workload

CHAT_KINDS = frozenset({"instruct", "reasoning"})
"""Kinds of model that answer a person: what is listed unless all are asked for."""
RECENT_YEARS = 2
"""How much older than the catalogue's newest a model may be and still be listed unasked."""
SCREEN = 20
"""Models that a person is shown before asking for the rest."""
RATED_SHARE = 0.6
"""Of a screen, what the rated models may fill where there are unrated ones: those are the newest."""
TINY_PART, LARGEST_TINY_BYTES = 4, 8 * GIB
"""A model that takes less than a quarter of the memory, and less than 8 GiB, is not what a machine is for."""
SAME_SIZE = 1.6
"""Models of one line whose sizes differ by less stand for each other: the newer supersedes the older."""


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
        known = _line(self.model_id) in _rated_lines()
        return (self.rating.rating if self.rating else 0.0, known, self.released, self.model_id)


@dataclass(frozen=True, slots=True)
class Found:
    """A model that runs: its best estimate, and what is known of the model. `released` is empty where nobody told."""

    estimate: Estimate
    released: str
    kind: str
    rating: Rating | None


def fitting(
    target: Target,
    workload: Workload,
    wanted: Wanted,
    *,
    flags: EngineOptions | None,
    keep: Filter,
    context_asked: int | str | None,
) -> list[Found]:
    """The best estimate of each model that the target runs whole, or split where asked: by rating where one is known,
    then by release and size, the best first.

    A context that was not asked for is the usual one, or the model's own where that is shorter; a model whose own
    context is shorter than the one asked for is left out, as is one that the engine asked for has no code for. `flags`
    name the engine, with its own flags; None: the usual.
    """
    found = []
    lacking: UnknownEngine | None = None
    runs = False
    room_bytes = room(target)
    if room_bytes is not None and keep.splits:
        room_bytes += host_room(target)
    for candidate, architecture in _candidates(room_bytes, wanted, keep):
        longest = architecture.max_context_tokens
        if isinstance(context_asked, int) and longest is not None and longest < workload.context_tokens:
            continue
        if flags is not None and no_code(architecture, flags.engine, flags.version, dict(flags.given)):
            continue
        asked = usual_workload(architecture, workload, context_asked)
        try:
            questions = questions_for(architecture, target, asked, flags.engine if flags else None, flags)
        except UnknownEngine as error:
            lacking = error
            continue
        runs = True
        chosen = best_of(questions, wanted)
        if chosen is None and keep.splits:
            chosen = best_split(questions, wanted)
        if chosen is not None:
            found.append(Found(chosen, candidate.released, candidate.kind, candidate.rating))
    if lacking is not None and not runs:
        raise lacking
    shown = found if keep.everything else _not_superseded(found)
    return sorted(shown, key=_rank, reverse=True)


def first_screen(found: Sequence[Found], count: int = SCREEN) -> list[Found]:
    """What a person is shown of a list, in its order: the best rated and, as ratings are older than models, the newest.

    Of the unrated those come first whose line people know by a rating, and what is not tiny beside the memory. What is
    slower than reading is shown only where the rest does not fill the screen.
    """
    quick = [item for item in found if not slower_than_reading(item.estimate)]
    rated = [item for item in quick if item.rating]
    unrated = sorted((item for item in quick if not item.rating), key=lambda item: (_tiny(item), not _known(item)))
    shown = rated[: max(count - len(unrated), round(count * RATED_SHARE))]
    shown += unrated[: count - len(shown)]
    shown += [item for item in found if slower_than_reading(item.estimate)][: count - len(shown)]
    return [item for item in found if any(item is chosen for chosen in shown)]


def _tiny(item: Found) -> bool:
    available_bytes = item.estimate.placement.available_bytes or 0
    return item.estimate.footprint.total_bytes < min(available_bytes / TINY_PART, LARGEST_TINY_BYTES)


def _known(item: Found) -> bool:
    return _line(item.estimate.architecture.model_id) in _rated_lines()


@cache
def _rated_lines() -> frozenset[tuple[str, str]]:
    return frozenset(_line(row["model"]) for row in read_rows("arena_models.csv"))


def _rank(item: Found) -> tuple[float, str, int, str]:
    architecture = item.estimate.architecture
    return (item.rating.rating if item.rating else 0.0, item.released, architecture.total_params, architecture.model_id)


def _not_superseded(found: list[Found]) -> list[Found]:
    """Those that no newer model of the same maker, line, kind and size stands for; a rated one is not hidden by one
    that nobody rated."""
    return [item for item in found if not any(_supersedes(other, item) for other in found)]


def _supersedes(newer: Found, older: Found) -> bool:
    if not older.released < newer.released or (older.rating and not newer.rating):
        return False
    if older.rating and newer.rating and newer.rating.rating < older.rating.rating:
        return False
    one, other = newer.estimate.architecture, older.estimate.architecture
    alike = (newer.kind, one.experts is None, _line(one.model_id)) == (
        older.kind,
        other.experts is None,
        _line(other.model_id),
    )
    return alike and 1 / SAME_SIZE < one.total_params / other.total_params < SAME_SIZE


def _line(model_id: str) -> tuple[str, str]:
    """A maker's line of models: the organisation and the first word of the name (`qwen` of Qwen2.5-7B)."""
    organisation, _, name = model_id.lower().rpartition("/")
    word = re.match(r"(?:meta-)?([a-z]+)", name)
    return organisation, word[1] if word else name


def _candidates(room_bytes: int | None, wanted: Wanted, keep: Filter) -> Iterator[tuple[Candidate, Architecture]]:
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
