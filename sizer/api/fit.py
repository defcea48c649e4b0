"""Which catalogued models a machine runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizer.api.asked import Options, WorkAsked, check_number, check_text, names, split_options
from sizer.api.targets import targets
from sizer.api.wanted import MOST_LISTED, WantedAsked, only, require_known_memory
from sizer.errors import DoesNotFit

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.advise.candidates import Filter
    from sizer.advise.fitting_models import Found
    from sizer.advise.public import FitRow
    from sizer.advise.recommend import Wanted
    from sizer.device.records import Target


def fit(
    *,
    family: str = "",
    everything: bool = False,
    since: str = "",
    rated_for: str = "overall",
    moe: bool = False,
    licenses: Sequence[str] = (),
    whole: bool = False,
    limit: int | None = None,
    prefer: str = "balanced",
    min_speed: float | None = None,
    max_loss: float | None = None,
    **options: Unpack[Options],
) -> tuple[FitRow, ...]:
    """Which catalogued models a machine runs, at which precision, how fast, as `sizer fit` answers.

    >>> fit(device="rtx-4060", family="qwen3", offline=True)[0].fits
    True

    Recent models that answer a person and are not superseded, by LMArena rating where one is known (`rated_for`: its
    category), then by release and size; `everything` for the rest, `since` a date. `whole` leaves out what runs only
    with a part on the host. Raises DoesNotFit where nothing runs.
    """
    from sizer.advise.public import fit_rows

    devices, work, _ = split_options(options)
    for name, text in (("family", family), ("since", since), ("rated-for", rated_for)):
        check_text(name, text)
    check_number("limit", limit, 0, MOST_LISTED, whole=True)
    keep = models_asked(family, licenses, moe=moe, whole=whole, everything=everything, since=since, rated_for=rated_for)
    wanted = WantedAsked(prefer, min_speed, max_loss).wanted(offer=True)
    return fit_rows(fitting_for(only(targets(devices)), work, wanted, keep)[:limit])


def models_asked(
    family: str, licenses: Sequence[str], *, moe: bool, whole: bool, everything: bool, since: str, rated_for: str
) -> Filter:
    """Which models a question about a machine looks at. Raises UsageError for a date or a rating that is none."""
    from sizer.advise.candidates import Filter
    from sizer.advise.licenses import Licenses
    from sizer.advise.ratings import category_of

    return Filter(
        family or "",
        moe,
        Licenses.of(names(licenses)),
        splits=not whole,
        everything=everything,
        since=since or "",
        category=category_of(rated_for or "overall"),
    )


def fitting_for(target: Target, work: WorkAsked, wanted: Wanted, keep: Filter) -> list[Found]:
    """The catalogued models that a target runs, best first. Raises DoesNotFit, UnknownModel for unknown words."""
    from sizer.advise.fitting_models import fitting
    from sizer.errors import UnknownModel
    from sizer.model.read import catalogue

    if keep.family and not catalogue.search(keep.family):
        near = ", ".join(catalogue.nearest(keep.family))
        raise UnknownModel(
            f"no catalogued model matches --family {keep.family!r}.",
            f"Nearest: {near}." if near else "'sizer models' lists them.",
        )
    require_known_memory(target)
    found = fitting(target, work.workload(), wanted, flags=work.flags, keep=keep, context_asked=work.context_tokens)
    if not found:
        words = f" of {keep.family!r}" if keep.family else ""
        others = "" if keep.everything else " --all lists vision, code and base models, embedders and older ones too."
        raise DoesNotFit(
            f"no catalogued model{words} runs on {target.device.name} as asked.",
            f"Ask for less, or give --ram.{others}",
        )
    return found
