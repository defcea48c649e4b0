"""Which estimate to run: the frontier of quality, memory and speed, and the rule that picks a point on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sizer.answer.loss import loss_of
from sizer.answer.records import Estimate
from sizer.device.records import is_cpu
from sizer.engine.ladders import own_precision
from sizer.frozen import dataclass
from sizer.precision.names import canonical
from sizer.precision.quality import benchmark_recovery_pct

NEGLIGIBLE_LOSS = 0.01
"""KL divergence that nobody notices: Q6_K has 0.0055, which llama.cpp's own table calls a very low loss."""
TOLERABLE_LOSS = 0.08
"""KL divergence of the 4-bit types that people run by default, the worst included: Q4_K_M has 0.031, Q4_0 0.072; the
3-bit ones start at Q3_K_M's 0.084 (same table)."""
USABLE_LOSS = 0.2
"""What a model still answers well with: IQ3_XXS has 0.18. From Q2_K on (0.33) llama.cpp's own list says `extreme
quality loss - not recommended`."""
READING_TOKENS_PER_S = 5.3
"""Silent reading: 238 words a minute (Brysbaert 2019, doi 10.1016/j.jml.2019.104047) at 0.75 words a token."""
WHOLE_RECOVERY_PCT = 99.5
"""Benchmark scores left as they were: less is lost than between two runs (FP8 keeps 100.1 % in the median)."""
WORTHWHILE_GAIN = 1.10
"""A step down in quality must buy at least a tenth in speed, or it is not taken."""

SERVED_SEQUENCES = 8
"""From so many sequences on, engines that batch continuously are what people run (docs/advice.md)."""

MEMORY_MARGIN = 0.05
LEAST_MARGIN_BYTES = 2**30
"""What a recommendation leaves free: a twentieth, the share by which nine in ten measured rows stay within the
footprint, and at least the GiB a device that llama.cpp's own fitting leaves (--fit-target 1024): a desktop, the
driver's reserve."""

PREFERENCES = ("balanced", "quality", "speed", "memory")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the chosen estimate must reach: decode tokens/s of one sequence, which way to lean, and what it may lose.

    `max_loss` is a KL divergence above which no precision is taken; None takes any.
    """

    prefer: str = "balanced"
    min_tokens_per_s: float | None = None
    max_loss: float | None = None


def is_native(estimate: Estimate) -> bool:
    """Whether an estimate is at the quantization that the checkpoint itself was published in: nothing loses less."""
    return estimate.precision == own_precision(estimate.architecture, estimate.engine)


def pace(estimate: Estimate) -> float | None:
    """Generated tokens/s that a user waits for: on CPUs, which read prompts slowly, with the prompt's time in it; an
    encoder's texts/s."""
    if estimate.speed is not None and estimate.architecture.decodes and is_cpu(estimate.target.device):
        return estimate.speed.request.tokens_per_s
    return waited_rate(estimate)


def keeps_benchmarks(precision: str) -> bool:
    """Whether benchmark scores stay as they were at a precision."""
    left = benchmark_recovery_pct(canonical(precision))
    return left is not None and left >= WHOLE_RECOVERY_PCT


def unnoticed(estimate: Estimate) -> bool:
    """Whether nobody notices what an estimate loses: a negligible divergence, or benchmarks that stay as they were."""
    return loss_of(estimate) <= NEGLIGIBLE_LOSS or keeps_benchmarks(estimate.precision)


def readable(rate: float) -> bool:
    """Whether tokens/s are about those of silent reading: a tenth below is no difference that buys quality."""
    return rate * WORTHWHILE_GAIN >= READING_TOKENS_PER_S


def slower_than_reading(estimate: Estimate) -> bool:
    """Whether answers come clearly slower than one reads; one without a known speed, or that writes none, is not."""
    rate = waited_rate(estimate)
    return estimate.architecture.decodes and rate is not None and not readable(rate)


def waited_rate(estimate: Estimate) -> float | None:
    """Predicted decode tokens/s of one sequence (an encoder's texts/s), None where it is not known."""
    return estimate.pace.rate if estimate.pace else None


def eligible(estimates: Iterable[Estimate], wanted: Wanted) -> list[Estimate]:
    """The estimates that the devices hold whole with a margin, fast enough and with no more loss than allowed."""
    return [item for item in estimates if has_margin(item) and reaches(item, wanted) and within_loss(item, wanted)]


def with_margin(available_bytes: int) -> int:
    """What of a device's memory a recommendation takes at most."""
    return max(0, min(int(available_bytes * (1 - MEMORY_MARGIN)), available_bytes - LEAST_MARGIN_BYTES))


def has_margin(estimate: Estimate) -> bool:
    """Whether the devices hold an estimate whole and keep the margin free (ahead-allocating engines keep their own)."""
    placement = estimate.placement
    if not placement.whole or placement.reserved_bytes is not None:
        return placement.whole
    return all(share.total_bytes <= with_margin(share.available_bytes or 0) for share in placement.shares)


def within_loss(estimate: Estimate, wanted: Wanted) -> bool:
    """Whether an estimate loses no more than allowed."""
    return wanted.max_loss is None or loss_of(estimate) <= wanted.max_loss


def reaches(estimate: Estimate, wanted: Wanted) -> bool:
    """Whether an estimate reaches the wanted speed; one without a known speed does not."""
    rate = waited_rate(estimate)
    return wanted.min_tokens_per_s is None or (rate is not None and rate >= wanted.min_tokens_per_s)


def frontier(estimates: Sequence[Estimate]) -> list[Estimate]:
    """The estimates that no other beats in loss, memory and speed at once, best quality first."""
    points = sorted(_costs(item) for item in estimates)
    by_costs = {_costs(item): item for item in reversed(estimates)}
    return [by_costs[point] for point in dict.fromkeys(points) if not any(_beats(other, point) for other in points)]


def _costs(estimate: Estimate) -> tuple[float, int, float]:
    """Loss, memory and slowness: each better when smaller."""
    return loss_of(estimate), estimate.footprint.total_bytes, -(pace(estimate) or 0.0)


def _beats(one: tuple[float, int, float], other: tuple[float, int, float]) -> bool:
    """True where `one` is at least as good as `other` in every respect and better in one."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def choose(estimates: Sequence[Estimate], wanted: Wanted) -> Estimate | None:
    """The estimate to run among those that fit, None where none does.

    balanced: from the best quality down, as long as each step buys a tenth of speed and the loss stays negligible, or
    tolerable while decoding is slower than reading.
    quality: the lowest loss. speed: the fastest with a tolerable loss. memory: the smallest with a tolerable loss.
    Where even the best has more than a tolerable loss, the best is taken. A checkpoint published quantized is run as
    it is wherever that fits: whoever quantizes it again loses more.
    """
    allowed = eligible(estimates, wanted)
    native = next((item for item in allowed if is_native(item)), None)
    if native is not None:
        return native
    points = frontier(allowed)
    if not points or wanted.prefer == "quality":
        return points[0] if points else None
    if wanted.prefer == "balanced":
        return _step_down(points)
    tolerable = [item for item in points if loss_of(item) <= TOLERABLE_LOSS] or points[:1]
    if wanted.prefer == "speed":
        return max(tolerable, key=lambda item: pace(item) or 0)
    return min(tolerable, key=lambda item: item.footprint.total_bytes)


def _step_down(points: Sequence[Estimate]) -> Estimate:
    chosen = points[0]
    for point in points[1:]:
        if loss_of(point) > worth_losing(chosen) and not unnoticed(point):
            break
        if (pace(point) or 0) >= WORTHWHILE_GAIN * (pace(chosen) or 0):
            chosen = point
    return chosen


def worth_losing(chosen: Estimate) -> float:
    """What a faster precision than this one may lose: nothing to notice, more where this one is slower than reading."""
    rate = waited_rate(chosen)
    quick = rate is None or rate >= READING_TOKENS_PER_S or not chosen.architecture.decodes
    return NEGLIGIBLE_LOSS if quick else TOLERABLE_LOSS


def neighbours(
    estimates: Sequence[Estimate], chosen: Estimate, wanted: Wanted
) -> tuple[Estimate | None, Estimate | None]:
    """The next point of the frontier with better quality, fitting or not, and the next that saves a tenth of memory."""
    points = frontier([item for item in estimates if item is chosen or item.speed is None or reaches(item, wanted)])
    if chosen not in points:
        return None, None
    index = points.index(chosen)
    better = points[index - 1] if index > 0 else None
    most_bytes = chosen.footprint.total_bytes / WORTHWHILE_GAIN
    cheaper = [point for point in points[index + 1 :] if point.footprint.total_bytes <= most_bytes]
    return better, cheaper[0] if cheaper else None
