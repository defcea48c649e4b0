"""The catalogue against a machine: what runs, at which precision, how fast, best first."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.advise.advice import questions_for, usual_workload
from sizer.advise.candidates import Filter, candidates, line_of, rated_lines
from sizer.advise.ratings import Rating
from sizer.advise.recommend import Wanted, slower_than_reading
from sizer.advise.search import best_of, best_split, host_room, room
from sizer.answer.records import Estimate
from sizer.device.records import Target
from sizer.engine.model_classes import model_code
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownEngine
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.units import GIB
from sizer.workload import Workload

SCREEN = 20
"""Models that a person is shown before asking for the rest."""
RATED_SHARE = 0.6
"""Of a screen, what the rated models may fill where there are unrated ones: those are the newest."""
TINY_PART, LARGEST_TINY_BYTES = 4, 8 * GIB
"""A model that takes less than a quarter of the memory, and less than 8 GiB, is not what a machine is for."""
SAME_SIZE = 1.6
"""Models of one line whose sizes differ by less stand for each other: the newer supersedes the older."""


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
    least_tokens = workload.context_tokens if isinstance(context_asked, int) else 0
    room_bytes = room(target)
    if room_bytes is not None and keep.splits:
        room_bytes += host_room(target)
    for candidate, architecture in candidates(room_bytes, wanted, keep):
        if not _answers(architecture, least_tokens, flags):
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


def _answers(architecture: Architecture, least_tokens: int, flags: EngineOptions | None) -> bool:
    """Whether a model's own context is long enough and the engine asked for has code for it, as far as is known."""
    longest = architecture.max_context_tokens
    if longest is not None and longest < least_tokens:
        return False
    return flags is None or not model_code(architecture, flags.engine, flags).lacking


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
    return line_of(item.estimate.architecture.model_id) in rated_lines()


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
    alike = (newer.kind, one.experts is None, line_of(one.model_id)) == (
        older.kind,
        other.experts is None,
        line_of(other.model_id),
    )
    return alike and 1 / SAME_SIZE < one.total_params / other.total_params < SAME_SIZE
