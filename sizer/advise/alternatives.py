"""What to do when a model does not fit whole at four bits: a smaller cache, a shorter context, a split with the host,
fewer bits, or a smaller model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sizer.advise.recommend import (
    READING_TOKENS_PER_S,
    TOLERABLE_LOSS,
    USABLE_LOSS,
    WORTHWHILE_GAIN,
    Wanted,
    choose,
    decode_rate,
    figures,
    is_native,
    loss_text,
    reaches,
    split_text,
    with_margin,
    within_loss,
)
from sizer.answer.estimate import Question, estimate
from sizer.answer.loss import loss_of
from sizer.answer.records import Estimate
from sizer.device.records import Device, Target, is_cpu
from sizer.model.architecture import Architecture

SMALLER_CACHES = {"llama.cpp": ("q8_0", "q4_0"), "ollama": ("q8_0", "q4_0"), "vllm": ("fp8",), "sglang": ("fp8",)}
"""Cache precisions that engines offer below 16 bits, best first (llama.cpp -ctk, vLLM --kv-cache-dtype)."""
CONTEXT_STEP_TOKENS = 256
SHORTEST_CONTEXT_TOKENS = 2048
"""Below this a context holds no conversation worth the name: Llama-1's whole context."""


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
    ways: list[Callable[[], Alternative | None]] = [
        lambda: _smaller_cache(questions, tolerable),
        lambda: _shorter_context(questions, tried, tolerable),
        lambda: _split(tried, wanted),
        lambda: _fewer_bits(tried, wanted),
    ]
    if context_asked:
        ways[1], ways[2] = ways[2], ways[1]
    found = [way() for way in ways]
    return [item for item in found if item is not None]


def _split(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The split with the host of a tolerable loss; of a usable one where only that is as fast as reading.

    Of those within a tenth of the fastest, the one that loses least.
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

    def fastest(limit: float) -> Estimate | None:
        allowed = [item for item in splits if loss_of(item) <= limit]
        top = max((split_pace(item) for item in allowed), default=0.0)
        close = [item for item in allowed if split_pace(item) * WORTHWHILE_GAIN >= top]
        return min(close, key=lambda item: (loss_of(item), -split_pace(item)), default=None)

    native = next((item for item in splits if is_native(item)), None)
    best = native or fastest(TOLERABLE_LOSS)
    usable = fastest(USABLE_LOSS)
    faster = usable is not None and split_pace(usable) >= READING_TOKENS_PER_S
    if best is None or (native is None and faster and split_pace(best) < READING_TOKENS_PER_S):
        best = usable or fastest(float("inf"))
    assert best is not None
    return Alternative("split", best, f"Split with the host: {split_text(best)}.")


def split_pace(item: Estimate) -> float:
    """Tokens/s of a split; where the device's bandwidth is not known, what the host alone allows: it is the slower."""
    rate = decode_rate(item)
    host = item.target.host
    if rate is not None or host is None or not host.bandwidth_bytes_per_s:
        return rate or 0.0
    active = item.architecture.active_params / item.architecture.total_params
    return host.bandwidth_bytes_per_s / max(1.0, item.placement.host_bytes * active)


def _fewer_bits(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The best precision that fits whole, whatever it loses."""
    chosen = choose(tried, wanted)
    if chosen is None:
        return None
    text = f"Take fewer bits: {chosen.precision} fits with {figures(chosen)}, {loss_text(chosen)}."
    return Alternative("fewer bits", chosen, text)


def _smaller_cache(questions: Sequence[Question], wanted: Wanted) -> Alternative | None:
    """The best precision that fits once the cache is stored in fewer bits."""
    for index in range(2):
        smaller = []
        for question in questions:
            caches = SMALLER_CACHES.get(question.engine or "", ())
            if index < len(caches):
                asked = replace(question, workload=replace(question.workload, kv_precision=caches[index]))
                smaller.append(estimate(asked))
        chosen = choose(smaller, wanted)
        if chosen is not None:
            text = f"Store the cache in {chosen.workload.kv_precision}: {chosen.precision} fits with {figures(chosen)}."
            return Alternative("smaller cache", chosen, text)
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
    chosen = choose(fitting, wanted)
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
    """The first of `candidates`, largest first, that is smaller than the model and that `ask` finds an estimate for."""
    for candidate in candidates:
        chosen = ask(candidate) if candidate.total_params < architecture.total_params else None
        if chosen is not None:
            text = f"Run {candidate.model_id} instead: {chosen.precision} fits with {figures(chosen)}."
            return Alternative("smaller model", chosen, text)
    return None
