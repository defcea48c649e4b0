"""Devices that no table has: estimated from what was read, in an interval as wide as what is not known makes it."""

from __future__ import annotations

from dataclasses import replace
from math import exp, hypot, log

import pytest

from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.api.asked import WorkAsked
from sizer.device.catalogue import find
from sizer.device.table import all_devices
from sizer.model.read.resolve import resolve
from sizer.speed.device_rates import UNTOLD_PEAK, _fed_flops_per_s, nominal_flops_per_s, peak_doubt
from sizer.tuning import tuned


def test_bounds_of_an_untold_peak_are_the_tables() -> None:
    """Nine of ten GPUs of the table have a peak between the bounds, relative to what their memory feeds."""
    known = [item for item in all_devices() if item.kind == "gpu" and item.bandwidth_bytes_per_s]
    ratios = sorted(nominal_flops_per_s(item) / _fed_flops_per_s(item) for item in known if item.peak_flops_per_s)
    low, high = (ratios[int(share * len(ratios))] for share in (0.05, 0.95))
    assert (low, high) == pytest.approx(UNTOLD_PEAK, rel=0.02)


def test_unknown_peak_widens_the_prompts_interval_alone() -> None:
    """A card of unknown compute has a wider interval for prompts, by the peaks of the table; a known one has not."""
    target = find("rtx-4090")
    blank = replace(target, device=replace(target.device, peak_flops_per_s={}))
    resolved = resolve("Qwen/Qwen3-8B", offline=True)
    asked = Question(resolved.architecture, target, "q4_k_m", WorkAsked().workload(), "llama.cpp")
    whole, less = estimate(asked).speed, estimate(replace(asked, target=blank)).speed
    assert whole is not None
    assert less is not None

    def spans(speed: object) -> tuple[float, float]:
        rate = speed.prefill.tokens_per_s  # type: ignore[attr-defined]
        low, high = speed.prefill.low_tokens_per_s, speed.prefill.high_tokens_per_s  # type: ignore[attr-defined]
        return log(rate / low), log(high / rate)

    slower, faster = peak_doubt(blank.device)
    assert (exp(-slower), exp(faster)) == pytest.approx(tuple(bound ** tuned("peak_power") for bound in UNTOLD_PEAK))
    assert spans(less) == pytest.approx(tuple(map(hypot, spans(whole), (slower, faster))))
    assert peak_doubt(target.device) == peak_doubt(find("epyc-9654").device) == (0.0, 0.0)
