"""The models found on this machine, each with its estimate: what it takes, and how fast it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import WorkAsked
from sizer.errors import SizerError
from sizer.frozen import dataclass

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.device.records import Target
    from sizer.model.read.stores import Kept


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that a program keeps and its estimate; where there is none, `problem` says why."""

    kept: Kept
    estimate: Estimate | None
    problem: str = ""


def installed(kept: Sequence[Kept], target: Target, work: WorkAsked) -> list[Installed]:
    """Each model that was found, estimated by its header with the engine of the program that keeps it."""
    return [_estimated(item, target, work) for item in kept]


def _estimated(kept: Kept, target: Target, work: WorkAsked) -> Installed:
    from sizer.api.estimates import estimates
    from sizer.model.read.resolve import resolve

    if work.engine is None and kept.engine is not None:
        work = replace(work, engine=kept.engine)
    try:
        resolved = resolve(str(kept.path), offline=True)
        found = next(iter(estimates(resolved, target, work)), None)
    except SizerError as error:
        return Installed(kept, None, error.message)
    return Installed(kept, found, "" if found is not None else "no precision of it is known")
