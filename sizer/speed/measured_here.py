"""Predicted speed, scaled by what benchmarks showed on the very machine."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.device.records import LocalRatio, Target
from sizer.speed.records import Request, Speed
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
    decode = speed.decode._replace(
        tokens_per_s=speed.decode.tokens_per_s * ratio.decode,
        low_tokens_per_s=_times(speed.decode.low_tokens_per_s, ratio.decode),
        high_tokens_per_s=_times(speed.decode.high_tokens_per_s, ratio.decode),
    )
    prefill = speed.prefill._replace(
        tokens_per_s=speed.prefill.tokens_per_s * ratio.prefill,
        low_tokens_per_s=_times(speed.prefill.low_tokens_per_s, ratio.prefill),
        high_tokens_per_s=_times(speed.prefill.high_tokens_per_s, ratio.prefill),
        ttft_s=speed.prefill.ttft_s / ratio.prefill,
    )
    output_tokens = max(1, workload.output_tokens)
    latency_s = prefill.ttft_s + output_tokens / decode.tokens_per_s
    rate = output_tokens / latency_s
    note = (
        f"Speeds of {precision} with {engine} are scaled by what benchmarks showed here, last on "
        f"{ratio.measured_on[:10]}: decode x {ratio.decode:.3g}, prefill x {ratio.prefill:.3g}."
    )
    return Speed(
        decode=decode,
        prefill=prefill,
        request=Request(rate, latency_s, rate * workload.batch_size),
        decode_stages=tuple(one._replace(time_s=one.time_s / ratio.decode) for one in speed.decode_stages),
        prefill_stages=tuple(one._replace(time_s=one.time_s / ratio.prefill) for one in speed.prefill_stages),
        notes=(*speed.notes, note),
    )


def _times(rate: float | None, factor: float) -> float | None:
    return None if rate is None else rate * factor
