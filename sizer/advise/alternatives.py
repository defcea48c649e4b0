"""What to do when a model does not fit whole at four bits: a smaller cache, a shorter context, a split with the host,
a device filled to the brim, fewer bits, or a smaller model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from sizer.advise.reasons import figures, loss_text, split_text
from sizer.advise.recommend import (
    READING_TOKENS_PER_S,
    TOLERABLE_LOSS,
    USABLE_LOSS,
    WORTHWHILE_GAIN,
    Wanted,
    choose,
    is_native,
    reaches,
    readable,
    waited_rate,
    with_margin,
    within_loss,
)
from sizer.answer.estimate import estimate
from sizer.answer.loss import loss_of
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.records import Device, Target, is_cpu
from sizer.device.usable import raised_limit_mib, raising
from sizer.engine.engines import find_engine
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.units import MIB, format_gib

COMFORTABLE_GAIN = 1.25
"""Above the speed of reading, what loses more must make a split a quarter faster."""
CONTEXT_STEP_TOKENS = 256
"""A context that is shortened is a multiple of this: llama.cpp pads its cache to 256 cells."""
SHORTEST_CONTEXT_TOKENS = 4096
"""llama.cpp's own fitting shortens a context no further before it moves layers to the host (--fit-ctx)."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way out: what to change, the estimate that results, and a sentence with its figures."""

    kind: str
    estimate: Estimate
    text: str


def alternatives(
    questions: Sequence[Question], tried: Sequence[Estimate], wanted: Wanted, *, context_asked: bool = False
) -> list[Alternative]:
    """The ways to run a model of which no precision of a tolerable loss fits whole, mildest first; none may help.

    `questions` and their estimates `tried` go together. A context that was asked for is shortened after splitting.
    """
    tolerable = replace(wanted, max_loss=min(TOLERABLE_LOSS, wanted.max_loss or TOLERABLE_LOSS))
    shorter = partial(_shorter_context, questions, tried, tolerable)
    ways: list[Callable[[], Alternative | None]] = [
        lambda: smaller_cache(questions, tolerable),
        *([] if context_asked else [shorter]),
        lambda: _raised_limit(questions, tolerable),
        lambda: _split([*tried, *_with_room(questions, tried)], wanted),
        *([shorter] if context_asked else []),
        lambda: smaller_cache(questions, tolerable, 1),
        lambda: _filled(tried, tolerable),
        lambda: _fewer_bits(tried, wanted),
    ]
    found = [way() for way in ways]
    return [item for item in found if item is not None]


def _split(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The split with the host of a tolerable loss; of a usable one where only that is as fast as reading.

    Of those within a tenth of the fastest (a quarter, above the speed of reading), the one that loses least.
    """
    splits = [
        item
        for item in tried
        if item.placement.host is not None
        and item.placement.fits
        and reaches(item, wanted)
        and within_loss(item, wanted)
    ]
    if not splits:
        return None

    def comfortable(top: float) -> float:
        return max(READING_TOKENS_PER_S, top / COMFORTABLE_GAIN)

    def fastest(limit: float) -> Estimate | None:
        allowed = [item for item in splits if loss_of(item) <= limit]
        top = max((split_pace(item) for item in allowed), default=0.0)
        close = [item for item in allowed if split_pace(item) >= min(top / WORTHWHILE_GAIN, comfortable(top))]
        return min(close, key=lambda item: (loss_of(item), -split_pace(item)), default=None)

    native = next((item for item in splits if is_native(item)), None)
    best = native or fastest(TOLERABLE_LOSS)
    usable = fastest(USABLE_LOSS)
    faster = usable is not None and readable(split_pace(usable))
    if best is None or (native is None and faster and not readable(split_pace(best))):
        best = usable or fastest(float("inf"))
    assert best is not None
    return Alternative("split", best, f"Split with the host: {split_text(best)}.")


def _with_room(questions: Sequence[Question], tried: Sequence[Estimate]) -> list[Estimate]:
    """What the devices hold whole, but too tightly, with so much on the host that the margin stays free."""
    found = []
    for question, item in zip(questions, tried, strict=True):
        target, available = question.target, item.placement.available_bytes
        if target.host is None or available is None or not item.placement.whole or item.placement.reserved_bytes:
            continue
        margin_bytes = max(share.available_bytes - with_margin(share.available_bytes)
                           for share in item.placement.shares if share.available_bytes is not None)  # fmt: skip
        reserve_bytes = target.reserve_bytes + margin_bytes
        split = estimate(replace(question, target=replace(target, reserve_bytes=reserve_bytes)))
        if split.placement.host is not None and split.placement.fits:
            found.append(_on(target, split, margin_bytes))
    return found


def _on(target: Target, split: Estimate, margin_bytes: int) -> Estimate:
    """An estimate that left a margin of each device aside, told on the devices as they are."""
    shares = tuple(
        share._replace(available_bytes=share.available_bytes and share.available_bytes + margin_bytes)
        for share in split.placement.shares
    )
    known = split.placement.available_bytes
    available = None if known is None else known + margin_bytes * len(shares)
    placement = replace(split.placement, shares=shares, available_bytes=available)
    return replace(split, target=target, placement=placement, case=replace(split.case, target=target))


def _raised_limit(questions: Sequence[Question], wanted: Wanted) -> Alternative | None:
    """The best precision that a Mac holds once its owner gives the GPU more of the memory."""
    limit_mib = raised_limit_mib(questions[0].target.device)
    if limit_mib is None:
        return None
    raised = []
    for question in questions:
        device = replace(question.target.device, memory_limit_bytes=limit_mib * MIB)
        raised.append(estimate(replace(question, target=replace(question.target, device=device))))
    chosen = choose(raised, wanted)
    if chosen is None:
        return None
    text = f"Give the GPU more memory ('{raising(limit_mib)}'): {chosen.precision} fits with {figures(chosen)}."
    return Alternative("raised limit", chosen, text)


def split_pace(item: Estimate) -> float:
    """Tokens/s of a split; where the device's bandwidth is not known, what the host alone allows: it is the slower."""
    rate = waited_rate(item)
    host = item.target.host
    if rate is not None or host is None or not host.bandwidth_bytes_per_s:
        return rate or 0.0
    active = item.architecture.active_params / item.architecture.total_params
    return host.bandwidth_bytes_per_s / max(1.0, item.placement.host_bytes * active)


def _filled(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The checkpoint's own precision, else the smallest, where it fits whole but leaves less free than the margin."""
    whole = [item for item in tried if item.placement.whole and reaches(item, wanted) and within_loss(item, wanted)]
    chosen = min(whole, key=lambda item: (not is_native(item), item.footprint.total_bytes), default=None)
    if chosen is None or chosen.placement.available_bytes is None:
        return None
    free = format_gib(chosen.placement.available_bytes - chosen.placement.device_bytes)
    text = f"Fill the device: {chosen.precision} fits with {figures(chosen)}, and leaves {free} to other programs."
    return Alternative("filled", chosen, text)


def _fewer_bits(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The best precision that fits whole, whatever it loses."""
    chosen = choose(tried, wanted)
    if chosen is None:
        return None
    text = f"Take fewer bits: {chosen.precision} fits with {figures(chosen)}, {loss_text(chosen)}."
    return Alternative("fewer bits", chosen, text)


def smaller_cache(questions: Sequence[Question], wanted: Wanted, step: int = 0) -> Alternative | None:
    """The best precision that fits once the cache is stored in fewer bits: in eight, one `step` further in four."""
    smaller = []
    for question in questions:
        caches = find_engine(question.engine).smaller_caches if question.engine else ()
        if step < len(caches):
            asked = replace(question, workload=replace(question.workload, kv_precision=caches[step]))
            smaller.append(estimate(asked))
    chosen = _of_first_engine(smaller, wanted)
    if chosen is None:
        return None
    text = f"Store the cache in {chosen.workload.kv_precision}: {chosen.precision} fits with {figures(chosen)}."
    return Alternative("smaller cache", chosen, text)


def _of_first_engine(estimates: Sequence[Estimate], wanted: Wanted) -> Estimate | None:
    """What is chosen of the first engine that has anything to choose: the usual ladder comes first, as everywhere."""
    for engine in dict.fromkeys(item.engine for item in estimates):
        chosen = choose([item for item in estimates if item.engine == engine], wanted)
        if chosen is not None:
            return chosen
    return None


def _shorter_context(questions: Sequence[Question], tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The best precision that fits at a shorter context, with the longest context that leaves the usual margin."""
    fitting = []
    for question, item in zip(questions, tried, strict=True):
        if not within_loss(item, wanted):
            continue
        narrow = replace(question, target=_with_margin(question.target), context_max=True)
        longest = (estimate(narrow).max_context_tokens or 0) // CONTEXT_STEP_TOKENS * CONTEXT_STEP_TOKENS
        needed = question.workload.prompt_tokens + question.workload.output_tokens
        if max(needed, SHORTEST_CONTEXT_TOKENS) <= longest < question.workload.context_tokens:
            fitting.append(estimate(replace(question, workload=replace(question.workload, context_tokens=longest))))
    chosen = _of_first_engine(fitting, wanted)
    if chosen is None:
        return None
    context = chosen.workload.context_tokens
    text = f"Shorten the context to {context:,} tokens: {chosen.precision} fits with {figures(chosen)}."
    return Alternative("shorter context", chosen, text)


def _with_margin(target: Target) -> Target:
    """The target without a host and with its memory less the margin that a recommendation leaves free."""

    def less(size_bytes: int | None) -> int | None:
        return None if size_bytes is None else with_margin(size_bytes)

    def smaller(device: Device) -> Device:
        limit_bytes = less(device.memory_limit_bytes)
        return replace(device, memory_bytes=less(device.memory_bytes), memory_limit_bytes=limit_bytes)

    others = tuple(smaller(device) for device in target.others)
    host_bytes = less(target.host_memory_bytes) if is_cpu(target.device) else None
    return replace(target, device=smaller(target.device), others=others, host=None, host_memory_bytes=host_bytes)


def smaller_model(
    architecture: Architecture, candidates: Iterable[Architecture], ask: Callable[[Architecture], Estimate | None]
) -> Alternative | None:
    """The first of `candidates`, largest first, that is smaller than the model, that `ask` finds an estimate for and
    that answers as fast as one reads; where none does, the first that runs."""
    slow: Alternative | None = None
    for candidate in candidates:
        chosen = ask(candidate) if candidate.total_params < architecture.total_params else None
        if chosen is None:
            continue
        text = f"Run {candidate.model_id} instead: {chosen.precision} fits with {figures(chosen)}."
        way = Alternative("smaller model", chosen, text)
        speed = waited_rate(chosen)
        if speed is None or readable(speed):
            return way
        slow = slow or way
    return slow
