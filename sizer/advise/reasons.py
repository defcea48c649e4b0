"""Why a choice: what it takes, what it loses, and what its neighbours would change, in words."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.advise.recommend import (
    Wanted,
    choose,
    has_margin,
    neighbours,
    pace,
    reaches,
    slower_than_reading,
    waited_rate,
)
from sizer.answer.document import Recommendation
from sizer.answer.loss import quality_of
from sizer.answer.records import Estimate
from sizer.units import format_gib, format_rate


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
    speed += ", slower than reading" if slower_than_reading(estimate) else ""
    layers = (placement.host_experts and estimate.architecture.expert_layers) or estimate.architecture.num_layers
    held = f"{placement.gpu_layers} of {layers} layers on the device"
    if not estimate.architecture.num_layers:
        held, what = f"{format_gib(placement.device_bytes)} on the device", "the rest"
    return f"{estimate.precision} runs with {held}, {what} on the host ({format_gib(placement.host_bytes)}){speed}"


def rate_words(estimate: Estimate, rate: float) -> str:
    """`95 tokens/s`, `230 texts/s`: a rate in what the model is waited for."""
    return f"{format_rate(rate)} {estimate.pace.unit if estimate.pace else 'tokens/s'}"
