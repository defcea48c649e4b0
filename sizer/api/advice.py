"""Decisions: what to run, what fits, what to buy or rent. Each has a public function and the one behind it, whose
internal records the renderers need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import (
    MOST_DRAFTED,
    MOST_RATE,
    DeviceAsked,
    Options,
    WorkAsked,
    check_number,
    check_text,
    names,
    split_options,
    with_vram,
)
from sizer.api.estimates import targets
from sizer.errors import DoesNotFit, UsageError
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.units import parse_bytes

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.advise.advice import Advice
    from sizer.advise.draft import Draft
    from sizer.advise.fitting_models import Filter, Found
    from sizer.advise.hardware import Fitting
    from sizer.advise.public import FitRow, HardwareRow, Recommended
    from sizer.advise.recommend import Wanted
    from sizer.answer.records import Estimate
    from sizer.device.records import Target
    from sizer.workload import Workload

Say = Callable[[str], None]
MOST_LISTED = 10**6
"""More models or devices than any table holds: a larger limit is a slip."""


@dataclass(frozen=True, slots=True)
class WantedAsked:
    """Which way to lean, the decode tokens/s of a sequence to reach, and the highest loss (KL divergence) to take."""

    prefer: str = "balanced"
    min_speed: float | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        from sizer.advise.recommend import PREFERENCES

        if self.prefer not in PREFERENCES:
            raise UsageError(f"prefer is {self.prefer!r}.", f"It is one of {', '.join(PREFERENCES)}.")
        check_number("min-speed", self.min_speed, 0, MOST_RATE)
        check_number("max-loss", self.max_loss, 0, MOST_RATE)

    def wanted(self, *, offer: bool = False) -> Wanted:
        """The record of a decision; `offer`: precisions of a tolerable loss unless a limit was given."""
        from sizer.advise.recommend import TOLERABLE_LOSS, Wanted

        limit = TOLERABLE_LOSS if offer and self.max_loss is None else self.max_loss
        return Wanted(self.prefer, self.min_speed, limit)


@dataclass(frozen=True, slots=True)
class DraftAsked:
    """A draft model, or `auto` for the best of the catalogue; None lengths and acceptances are the usual ones."""

    model: str
    draft_tokens: int | None = None
    acceptance: float | None = None

    def __post_init__(self) -> None:
        check_text("draft", self.model)
        check_number("draft-tokens", self.draft_tokens, 1, MOST_DRAFTED, whole=True)
        check_number("acceptance", self.acceptance, 0, 1)


def recommend(
    model: str,
    *,
    vram_bytes: int | str | None = None,
    prefer: str = "balanced",
    min_speed: float | None = None,
    max_loss: float | None = None,
    draft: str | None = None,
    draft_tokens: int | None = None,
    acceptance: float | None = None,
    **options: Unpack[Options],
) -> Recommended:
    """Which precision of a model to run, why, and the command that runs it, as `sizer recommend` answers.

    >>> recommend("Qwen/Qwen3-8B", device="rtx-4090", offline=True).chosen_model
    'Qwen/Qwen3-8B'

    `vram_bytes` is a GPU with that memory, whichever it is. Raises DoesNotFit where nothing runs.
    """
    from sizer.advise.public import recommended

    devices, work, offline = split_options(options)
    size = parse_bytes(vram_bytes) if isinstance(vram_bytes, str) else vram_bytes
    target = only(recommend_targets(devices, size))
    advice = advice_for(model, target, work, WantedAsked(prefer, min_speed, max_loss).wanted(), offline=offline)
    drafting = DraftAsked(draft, draft_tokens, acceptance) if draft else None
    assert advice.chosen is not None
    return recommended(advice, draft_for(advice.chosen, drafting, offline=offline))


def recommend_targets(asked: DeviceAsked, vram_bytes: int | None = None, say: Say | None = None) -> list[Target]:
    """The targets asked for; a size of VRAM or of RAM alone describes a machine. Raises UsageError."""
    asked = with_vram(asked, vram_bytes)
    if asked.ram_bytes is not None and not asked.names and asked.memory_bytes is None:
        asked = DeviceAsked(names=("consumer-cpu",), ram_bytes=asked.ram_bytes)
    return targets(asked, say)


def only(found: Sequence[Target]) -> Target:
    """The one target of a question about one machine. Raises UsageError for several: none is left out in silence."""
    if len(found) == 1:
        return found[0]
    asked = [target.asked for target in found]
    raise UsageError(
        f"this answers for one device, not for {len(found)}: {', '.join(map(shown, asked))}.",
        f"Ask for each; in one machine they are {shown(' + '.join(asked))}.",
    )


def advice_for(model: str, target: Target, work: WorkAsked, wanted: Wanted, *, offline: bool = False) -> Advice:
    """The advice for one model on one target. Raises DoesNotFit with a way on where nothing runs."""
    from sizer.advise.advice import advise, ladder_questions, usual_workload
    from sizer.advise.family import relatives
    from sizer.model.read.resolve import resolve

    architecture = resolve(model, offline=offline).architecture
    _known_memory(target)
    if work.flags is not None:
        from sizer.engine.flagged_devices import with_ranks

        target = with_ranks(target, work.flags)
    asked = work.context_tokens is not None
    workload = usual_workload(architecture, work.workload(), work.context_tokens)
    questions = ladder_questions(architecture, target, workload, work.engine, work.flags)
    advice = advise(questions, wanted, relatives(architecture), engine=work.engine, context_asked=asked)
    if advice.chosen is None:
        raise DoesNotFit(f"{model!r} does not run here: {advice.reason}", _way_on(advice, wanted))
    return advice


def _known_memory(target: Target) -> None:
    """Raises UsageError where nobody knows how much memory a machine has: what fits cannot be told."""
    from sizer.advise.search import room
    from sizer.device.records import is_cpu

    if room(target) is None:
        beside, says = ("beside", "--ram") if is_cpu(target.device) else ("of", "--memory")
        raise UsageError(f"the memory {beside} {target.device.name} is not known.", f"{says} says it, as {says} 64GiB.")


def _way_on(advice: Advice, wanted: Wanted) -> str:
    if advice.alternatives:
        return advice.alternatives[0].text
    if wanted.min_tokens_per_s is not None and any(item.placement.whole for item in advice.tried):
        return "Lower --min-speed, or take a smaller model or a faster device."
    return "A smaller model, more memory, or --ram for layers on the host would help."


def draft_for(chosen: Estimate, asked: DraftAsked | None, *, offline: bool = False) -> Draft | None:
    """The draft asked for beside a chosen estimate, or the best of the catalogue; None where none is asked for or fits.

    Raises UsageError for a model that cannot draft for it.
    """
    from sizer.advise.draft import USUAL_ACCEPTANCE, best_draft, compatible, draft
    from sizer.advise.family import relatives
    from sizer.model.read.resolve import resolve

    if asked is None:
        return None
    acceptance = USUAL_ACCEPTANCE if asked.acceptance is None else asked.acceptance
    if asked.model.lower() == "auto":
        among = relatives(chosen.architecture)
        return best_draft(chosen, among, acceptance=acceptance, draft_tokens=asked.draft_tokens)
    small = resolve(asked.model, offline=offline).architecture
    if not compatible(chosen.architecture, small):
        raise UsageError(
            f"{asked.model!r} cannot draft for {chosen.architecture.model_id!r}: it must be smaller and have the "
            f"same vocabulary ({small.vocab_size:,} entries against {chosen.architecture.vocab_size:,}).",
            "--draft auto takes the best of the catalogue.",
        )
    return draft(chosen, small, acceptance=acceptance, draft_tokens=asked.draft_tokens)


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
    from sizer.advise.fitting_models import Filter
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
    _known_memory(target)
    found = fitting(target, work.workload(), wanted, flags=work.flags, keep=keep, context_asked=work.context_tokens)
    if not found:
        words = f" of {keep.family!r}" if keep.family else ""
        others = "" if keep.everything else " --all lists vision, code and base models, embedders and older ones too."
        raise DoesNotFit(
            f"no catalogued model{words} runs on {target.device.name} as asked.",
            f"Ask for less, or give --ram.{others}",
        )
    return found


def hardware(
    model: str,
    *,
    users: int | None = None,
    text: str = "",
    order: str = "price",
    prices: Sequence[str] = (),
    limit: int | None = None,
    prefer: str = "balanced",
    min_speed: float | None = None,
    max_loss: float | None = None,
    **options: Unpack[Options],
) -> tuple[HardwareRow, ...]:
    """Which devices, counts of them and cloud instances run a model as asked, as `sizer hardware` answers.

    `users` is how many sequences run at once, `text` keeps devices and instances with these words, `order` is memory,
    price or speed, `prices` override the table's (`h100=2.10`, USD an hour). Raises DoesNotFit where nothing runs it.
    """
    from sizer.advise.public import hardware_rows

    if users is not None:
        options["batch"] = users
    _, work, offline = split_options(options)
    wanted = WantedAsked(prefer, min_speed, max_loss).wanted(offer=True)
    check_text("text", text)
    check_number("limit", limit, 0, MOST_LISTED, whole=True)
    found, _ = hardware_for(model, work, wanted, text=text or "", order=order, prices=names(prices), offline=offline)
    return hardware_rows(found[:limit])


def hardware_for(
    model: str,
    work: WorkAsked,
    wanted: Wanted,
    *,
    text: str = "",
    order: str = "price",
    prices: Sequence[str] = (),
    offline: bool = False,
) -> tuple[list[Fitting], Workload]:
    """The targets that run a model as asked, and the workload that they were asked for. Raises DoesNotFit."""
    from sizer.advise.advice import usual_workload
    from sizer.advise.hardware import ORDERS, hardware
    from sizer.model.read.resolve import resolve
    from sizer.precision.names import canonical
    from sizer.serving.prices import stated_prices

    if order not in ORDERS:
        raise UsageError(f"order is {order!r}.", f"It is one of {', '.join(ORDERS)}.")
    architecture = resolve(model, offline=offline).architecture
    workload = usual_workload(architecture, work.workload(), work.context_tokens)
    workload = replace(workload, gpu_layers=None)
    if work.context_tokens is not None:
        # A context that was asked for is what the speed is asked at: decoding ends with it full.
        workload = replace(workload, prompt_tokens=workload.context_tokens - workload.output_tokens)
    precision = canonical(work.precisions[0]) if work.precisions else None
    found = hardware(
        architecture,
        workload,
        wanted,
        engine=work.engine,
        options=work.flags,
        precision=precision,
        text=text,
        order=order,
        prices=stated_prices(prices),
    )
    if not found:
        raise DoesNotFit(f"no device in the table runs {model!r} as asked.", "Lower --min-speed, --context or --users.")
    return found, workload
