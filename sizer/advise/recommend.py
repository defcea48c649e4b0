"""Which estimate to run: the frontier of quality, memory and speed, and the rule that picks a point on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sizer.answer.document import Recommendation
from sizer.answer.loss import loss_of, quality_of
from sizer.answer.records import Estimate
from sizer.device.records import is_cpu
from sizer.engine.ladders import own_precision
from sizer.frozen import dataclass
from sizer.precision.names import canonical
from sizer.precision.quality import benchmark_recovery_pct
from sizer.units import format_gib, format_rate

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


def waited_rate(estimate: Estimate) -> float | None:
    """Predicted decode tokens/s of one sequence (an encoder's texts/s), None where it is not known."""
    return estimate.pace.rate if estimate.pace else None


def rate_words(estimate: Estimate, rate: float) -> str:
    """`95 tokens/s`, `230 texts/s`: a rate in what the model is waited for."""
    return f"{format_rate(rate)} {estimate.pace.unit if estimate.pace else 'tokens/s'}"


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
    return NEGLIGIBLE_LOSS if rate is None or rate >= READING_TOKENS_PER_S else TOLERABLE_LOSS


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


def recommendation(estimates: Sequence[Estimate], wanted: Wanted | None = None) -> Recommendation:
    """Which of these estimates to run and why, in one sentence; precision None where nothing fits."""
    wanted = wanted or Wanted()
    chosen = choose(estimates, wanted)
    if chosen is not None:
        return Recommendation(chosen.precision, reason(estimates, chosen, wanted))
    known = [item for item in estimates if item.placement.available_bytes is not None]
    if not known:
        return Recommendation(None, "The device's memory is not known, so nothing can be recommended.")
    split = [item for item in known if item.placement.fits and reaches(item, wanted)]
    if split:
        fastest = max(split, key=lambda item: waited_rate(item) or 0)
        return Recommendation(fastest.precision, f"Nothing fits whole; {split_text(fastest)}.")
    nearest = min(known, key=lambda item: item.placement.shortfall_bytes)
    if nearest.placement.shortfall_bytes == 0:
        return Recommendation(None, "Nothing that fits reaches the wanted speed.")
    short = format_gib(nearest.placement.shortfall_bytes)
    return Recommendation(None, f"Nothing fits: even {nearest.precision} is {short} short.")


def reason(estimates: Sequence[Estimate], chosen: Estimate, wanted: Wanted) -> str:
    """Why a chosen estimate: what it takes, how fast it is, what its neighbours would change."""
    better, cheaper = neighbours(estimates, chosen, wanted)
    sentences = [f"{chosen.precision} fits with {figures(chosen)}."]
    if better is not None:
        sentences.append(f"{better.precision} {_loses_less(better, chosen)}{_why_not(better, chosen)}.")
    if cheaper is not None:
        saved = chosen.footprint.total_bytes - cheaper.footprint.total_bytes
        if saved > 0:
            sentences.append(f"{cheaper.precision} saves {format_gib(saved)}: {loss_text(cheaper)}.")
    return " ".join(sentences)


def _loses_less(better: Estimate, chosen: Estimate) -> str:
    """Two losses side by side, words that are the same once: `loses less (KL 0.002 against 0.01, both hard to notice)`;
    what is the checkpoint's own loses nothing."""
    one, other = quality_of(better), quality_of(chosen)
    if one.kl_divergence == 0:
        return f"loses nothing ({chosen.precision}: {loss_text(chosen)})"
    if one.words != other.words:
        return f"loses less ({loss_text(better)} against {loss_text(chosen)})"
    about = "about " if {one.factor, other.factor} != {1} else ""
    return f"loses less (KL {about}{one.kl_divergence:.2g} against {other.kl_divergence:.2g}, both {one.words})"


def loss_text(estimate: Estimate) -> str:
    """`hard to notice, KL about 0.013`: what an estimate loses, in words and as a figure."""
    loss = quality_of(estimate)
    if loss.kl_divergence == 0:
        return "nothing lost"
    about = "" if loss.factor == 1 else "about "
    return f"{loss.words}, KL {about}{loss.kl_divergence:.2g}"


def _why_not(better: Estimate, chosen: Estimate) -> str:
    """What keeps a better estimate from being chosen: memory, else its speed."""
    if has_margin(better):
        rate, reached = pace(better), pace(chosen)
        if rate is None or reached is None:
            more = better.footprint.total_bytes - chosen.footprint.total_bytes
            return f" but takes {format_gib(more)} more, and the speed of neither is known" if more > 0 else ""
        return f" but is slower ({_slower(better, rate, reached)})" if rate < reached else ""
    if better.placement.whole:
        return " but would leave too little memory free"
    rate = waited_rate(better)
    if better.placement.fits:
        speed = f": {rate_words(better, rate)} with a part on the host" if rate is not None else ""
        return f" but does not fit whole{speed}"
    return f" but does not fit ({format_gib(better.placement.shortfall_bytes)} short)"


def _slower(better: Estimate, rate: float, reached: float) -> str:
    """`4.1 tokens/s`; where the prompt's time is in it, beside what decoding alone takes and against what the chosen
    one reaches so, which may be the slower one without its prompt."""
    alone = waited_rate(better)
    if alone is None or alone == rate:
        return rate_words(better, rate)
    return f"{rate_words(better, alone)}; with the prompt's time {format_rate(rate)} against {format_rate(reached)}"


def figures(estimate: Estimate) -> str:
    """`5.12 of 24.00 GiB, 95 tokens/s`."""
    available = estimate.placement.available_bytes
    memory = format_gib(estimate.placement.device_bytes)
    room = f"{memory} of {format_gib(available)}" if available is not None else memory
    rate = waited_rate(estimate)
    return f"{room}, {rate_words(estimate, rate)}" if rate is not None else room


def split_text(estimate: Estimate) -> str:
    """How an estimate is split with the host, and its speed."""
    placement = estimate.placement
    whole_layers = placement.gpu_layers >= estimate.architecture.num_layers
    what = "experts of the other layers" if placement.host_experts else "the output" if whole_layers else "the others"
    rate = waited_rate(estimate)
    speed = f", {rate_words(estimate, rate)}" if rate is not None else ""
    speed += ", slower than reading" if rate is not None and not readable(rate) else ""
    layers = (placement.host_experts and estimate.architecture.expert_layers) or estimate.architecture.num_layers
    held = f"{placement.gpu_layers} of {layers} layers on the device"
    if not estimate.architecture.num_layers:
        held, what = f"{format_gib(placement.device_bytes)} on the device", "the rest"
    return f"{estimate.precision} runs with {held}, {what} on the host ({format_gib(placement.host_bytes)}){speed}"
