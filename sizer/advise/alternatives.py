"""What to do when a model does not fit whole: split, smaller cache, shorter context, or a smaller model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sizer.advise.recommend import Wanted, choose, decode_rate, loss_of, reaches, split_text
from sizer.estimate.estimate import Question, estimate
from sizer.estimate.records import Estimate
from sizer.model.architecture import Architecture
from sizer.units import format_gib, format_rate

SMALLER_CACHES = {"llama.cpp": ("q8_0", "q4_0"), "ollama": ("q8_0", "q4_0"), "vllm": ("fp8",), "sglang": ("fp8",)}
"""Cache precisions that engines offer below 16 bits, best first (llama.cpp -ctk, vLLM --kv-cache-dtype)."""
SHORTEST_CONTEXT_TOKENS = 2048
"""Below this a context holds no conversation worth the name: Llama-1's whole context."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way out: what to change, the estimate that results, and a sentence with its figures."""

    kind: str
    estimate: Estimate
    text: str


def alternatives(questions: Sequence[Question], tried: Sequence[Estimate], wanted: Wanted) -> list[Alternative]:
    """The ways to run a model of which no precision fits whole, best first; none where nothing helps."""
    ways: list[Callable[[], Alternative | None]] = [
        lambda: _smaller_cache(questions, wanted),
        lambda: _shorter_context(questions, tried, wanted),
        lambda: _split(tried, wanted),
    ]
    found = [way() for way in ways]
    return [item for item in found if item is not None]


def _split(tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The fastest tolerable split with the host."""
    splits = [
        item for item in tried if item.placement.host is not None and item.placement.fits and reaches(item, wanted)
    ]
    if not splits:
        return None
    best = max(splits, key=lambda item: (decode_rate(item) or 0, -loss_of(item)))
    return Alternative("split", best, f"Split with the host: {split_text(best)}.")


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
            cache = format_gib(chosen.footprint.kv_cache.size_bytes)
            text = f"Store the cache in {chosen.workload.kv_precision} ({cache}): {chosen.precision} then fits."
            return Alternative("smaller cache", chosen, text)
    return None


def _shorter_context(questions: Sequence[Question], tried: Sequence[Estimate], wanted: Wanted) -> Alternative | None:
    """The best precision that fits at a shorter context, with the longest context that it leaves room for."""
    fitting = []
    for question, item in zip(questions, tried, strict=True):
        longest = item.max_context_tokens
        needed = question.workload.prompt_tokens + question.workload.output_tokens
        if item.placement.host is None and longest is not None and longest >= max(needed, SHORTEST_CONTEXT_TOKENS):
            asked = replace(question, workload=replace(question.workload, context_tokens=longest))
            fitting.append(estimate(asked))
    chosen = choose(fitting, wanted)
    if chosen is None:
        return None
    text = f"Shorten the context to {chosen.workload.context_tokens:,} tokens: {chosen.precision} then fits."
    return Alternative("shorter context", chosen, text)


def smaller_model(
    architecture: Architecture, candidates: Sequence[Architecture], ask: Callable[[Architecture], Estimate | None]
) -> Alternative | None:
    """The largest of `candidates` that is smaller than the model and that `ask` finds a fitting estimate for."""
    smaller = [item for item in candidates if item.total_params < architecture.total_params]
    for candidate in sorted(smaller, key=lambda item: -item.total_params):
        chosen = ask(candidate)
        if chosen is not None:
            rate = decode_rate(chosen)
            speed = f", {format_rate(rate)} tokens/s" if rate is not None else ""
            memory = format_gib(chosen.footprint.total_bytes)
            text = f"Run {candidate.model_id} at {chosen.precision} instead: {memory}{speed}."
            return Alternative("smaller model", chosen, text)
    return None
