"""Turns raw runs into a measurement, and sets it beside a prediction. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from sizer.answer.records import Estimate
from sizer.benchmark.backends import tokens_of_prefill
from sizer.benchmark.records import Measurement, Outcome, Spec
from sizer.benchmark.run_warnings import judge_runs, spread
from sizer.errors import BenchmarkFailed


def measurement(spec: Spec, outcome: Outcome, machine: Mapping[str, Any], measured_on: str) -> Measurement:
    """The figures of an outcome: medians over its runs, their spread, and what warns about them."""
    if not outcome.runs or outcome.decode_steps < 1 or min(run.decode_s for run in outcome.runs) <= 0:
        raise BenchmarkFailed("The benchmark timed no token.", "Raise --output to two or more.")
    prefill_s = median(run.prefill_s for run in outcome.runs)
    decode_s = median(run.decode_s for run in outcome.runs)
    tpot_s = decode_s / outcome.decode_steps
    sequences = spec.batch_size * spec.concurrency
    output_tokens = outcome.decode_steps + tokens_of_prefill(spec.backend)
    return Measurement(
        engine=outcome.engine,
        precision=outcome.precision,
        prompt_tokens=outcome.prompt_tokens,
        output_tokens=output_tokens,
        batch_size=spec.batch_size,
        decode_tokens_per_s=1 / tpot_s,
        prefill_tokens_per_s=spec.batch_size * outcome.prompt_tokens / prefill_s,
        ttft_s=prefill_s,
        tpot_s=tpot_s,
        weights_bytes=outcome.weights_bytes,
        peak_memory_bytes=outcome.peak_memory_bytes,
        load_s=outcome.load_s,
        random_weights=spec.random_weights,
        threads=outcome.threads,
        runs=outcome.runs,
        machine=machine,
        versions=outcome.versions,
        warnings=(*judge_runs(outcome.runs), *outcome.cautions),
        model=outcome.model or spec.model,
        backend=spec.backend,
        device=outcome.device,
        device_name=outcome.device_name,
        device_count=outcome.device_count,
        parallelism=spec.parallelism,
        concurrency=spec.concurrency,
        compiled=spec.compiled,
        warmup_runs=outcome.warmup_runs,
        decode_best_tokens_per_s=outcome.decode_steps / min(run.decode_s for run in outcome.runs),
        decode_spread=spread([run.decode_s for run in outcome.runs]),
        prefill_spread=spread([run.prefill_s for run in outcome.runs]),
        throughput_tokens_per_s=_throughput(outcome, output_tokens, sequences, prefill_s + decode_s),
        memory=outcome.memory,
        measured_on=measured_on,
    )


def _throughput(outcome: Outcome, output_tokens: int, sequences: int, request_s: float) -> float:
    if outcome.wall_s:
        return output_tokens * len(outcome.runs) / outcome.wall_s
    return output_tokens * sequences / request_s


def residual(measured: Measurement, predicted: Estimate | None) -> dict[str, float | None]:
    """measured / predicted - 1 of each figure, and the bandwidth that decoding used (MBU); None where unknown."""
    if predicted is None:
        return {"decode": None, "prefill": None, "memory": None, "mbu": None}
    speed = predicted.speed
    return {
        "decode": ratio(measured.decode_tokens_per_s, speed.decode.tokens_per_s if speed else None),
        "prefill": ratio(measured.prefill_tokens_per_s, speed.prefill.tokens_per_s if speed else None),
        "memory": ratio(measured.peak_memory_bytes, predicted.footprint.total_bytes),
        "mbu": bandwidth_used(measured.decode_tokens_per_s, predicted),
    }


def bandwidth_used(decode_tokens_per_s: float, predicted: Estimate) -> float | None:
    """Bytes per token x decode tokens/s over the bandwidth of the devices that read at the same time."""
    bandwidth = predicted.target.device.bandwidth_bytes_per_s
    if not bandwidth or predicted.speed is None:
        return None
    readers = predicted.target.count if predicted.placement.kind == "tensor" else 1
    return predicted.speed.decode.bytes_per_token * decode_tokens_per_s / (bandwidth * readers)


def ratio(measured: float | None, predicted: float | None) -> float | None:
    """measured / predicted - 1; None where either is unknown."""
    return measured / predicted - 1 if measured is not None and predicted else None
