"""A predicted speed, scaled by what was measured of cases like it."""

from __future__ import annotations

from sizer.speed.records import Depth, Speed, request_of
from sizer.workload import Workload


def scaled(speed: Speed, workload: Workload, decode: float, prefill: float, *notes: str) -> Speed:
    """The speed with its decode and its prefill so many times as fast, intervals and stages too; `notes` say why."""
    told = speed.decode._replace(
        tokens_per_s=speed.decode.tokens_per_s * decode,
        low_tokens_per_s=_times(speed.decode.low_tokens_per_s, decode),
        high_tokens_per_s=_times(speed.decode.high_tokens_per_s, decode),
        depth=_deep(speed.decode.depth, decode),
    )
    read = speed.prefill._replace(
        tokens_per_s=speed.prefill.tokens_per_s * prefill,
        low_tokens_per_s=_times(speed.prefill.low_tokens_per_s, prefill),
        high_tokens_per_s=_times(speed.prefill.high_tokens_per_s, prefill),
        ttft_s=speed.prefill.ttft_s / prefill,
    )
    return Speed(
        decode=told,
        prefill=read,
        request=request_of(workload, told, read),
        decode_stages=tuple(one._replace(time_s=one.time_s / decode) for one in speed.decode_stages),
        prefill_stages=tuple(one._replace(time_s=one.time_s / prefill) for one in speed.prefill_stages),
        notes=(*speed.notes, *notes),
    )


def _deep(depth: Depth | None, factor: float) -> Depth | None:
    if depth is None:
        return None
    return Depth(depth.empty_tokens_per_s * factor, depth.full_tokens_per_s * factor, depth.full_context_tokens)


def _times(rate: float | None, factor: float) -> float | None:
    return None if rate is None else rate * factor
