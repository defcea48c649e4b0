"""Predicted speed, scaled by what benchmarks showed on the very machine."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.device.records import LocalRatio, Target
from sizer.speed.records import Speed
from sizer.speed.scaled import scaled
from sizer.workload import Workload


def ratio_for(ratios: Sequence[LocalRatio], engine: str, precision: str) -> LocalRatio | None:
    """The medians of the benchmarks with this engine and precision; None where there is none."""
    same = [ratio for ratio in ratios if (ratio.engine, ratio.precision) == (engine, precision)]
    if not same:
        return None
    from statistics import median

    decode = median(ratio.decode for ratio in same)
    prefill = median(ratio.prefill for ratio in same)
    return LocalRatio(engine, precision, decode, prefill, same[-1].measured_on)


def as_measured_here(speed: Speed, target: Target, workload: Workload, engine: str, precision: str) -> Speed:
    """The speed scaled by what benchmarks with this engine and precision showed on this machine, and a note of it."""
    ratio = ratio_for(target.local_ratios, engine, precision)
    if ratio is None:
        return speed
    note = (
        f"Speeds of {precision} with {engine} are scaled by what benchmarks showed here, last on "
        f"{ratio.measured_on[:10]}: decode x {ratio.decode:.3g}, prefill x {ratio.prefill:.3g}."
    )
    return scaled(speed, workload, ratio.decode, ratio.prefill, note)
