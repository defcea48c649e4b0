"""Measured cells in the JSON of llama-bench, which its own comparing scripts and `sizer import` read.

What another engine has not got (builds, batches) is left out; `engine` and `precision` are sizer's
own keys, and tell whose figures they are. llama-bench knows one sequence: cells of more are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean, stdev
from typing import Any

from sizer.answer.records import Estimate
from sizer.benchmark.cells import CellMeasurement
from sizer.benchmark.records import Measurement

STYLE = "llama-bench"


def text_of(tests: Iterable[Mapping[str, Any]]) -> str:
    """The tests as llama-bench prints them: a list, a test a line."""
    lines = ",\n".join(f"  {json.dumps(test)}" for test in tests)
    return f"[\n{lines}\n]"


def of_cell(measured: CellMeasurement, predicted: Estimate | None) -> list[dict[str, Any]]:
    """The test of a cell; none of several sequences."""
    if measured.batch_size > 1:
        return []
    prompt = bool(measured.prompt_tokens)
    seconds = [run["prefill_s" if prompt else "decode_s"] or 0.0 for run in measured.runs]
    sizes = (measured.prompt_tokens, measured.output_tokens, measured.depth_tokens)
    return [_test(measured, predicted, sizes, measured.prompt_tokens or measured.output_tokens, seconds)]


def of_measurement(measured: Measurement, predicted: Estimate | None) -> list[dict[str, Any]]:
    """The two tests of one generation: its prompt, and the tokens made behind it; none of several sequences."""
    if measured.batch_size * measured.concurrency > 1:
        return []
    prompt, steps = measured.prompt_tokens, measured.decode_steps
    first, later = ([getattr(run, name) for run in measured.runs] for name in ("prefill_s", "decode_s"))
    return [
        _test(measured, predicted, (prompt, 0, 0), prompt, first),
        _test(measured, predicted, (0, steps, prompt), steps, later),
    ]


def _test(
    measured: CellMeasurement | Measurement,
    predicted: Estimate | None,
    sizes: tuple[int, int, int],
    tokens: int,
    seconds: Sequence[float],
) -> dict[str, Any]:
    """One test in llama-bench's own JSON, field for field."""
    rates = [tokens / one for one in seconds]
    on_cpu = measured.device == "cpu"
    build = measured.versions.get("llama.cpp", "")
    model = predicted.architecture if predicted else None
    name = measured.device_name or (predicted.target.device.name if predicted else "")
    return {
        "build_commit": measured.versions.get("commit", ""),
        "build_number": int(build) if build.isdigit() else 0,
        "engine": measured.engine,
        "precision": measured.precision,
        "cpu_info": name if on_cpu else "",
        "gpu_info": "" if on_cpu else ", ".join([name] * measured.device_count),
        "backends": measured.device.upper(),
        "model_filename": measured.model,
        "model_type": f"{measured.model} {measured.precision.upper()}",
        "model_size": measured.weights_bytes,
        "model_n_params": model.total_params if model else None,
        "n_threads": measured.threads,
        "n_prompt": sizes[0],
        "n_gen": sizes[1],
        "n_depth": sizes[2],
        "test_time": _time(measured.measured_on),
        "avg_ns": round(fmean(seconds) * 1e9),
        "stddev_ns": round(stdev(seconds) * 1e9) if len(seconds) > 1 else 0,
        "avg_ts": fmean(rates),
        "stddev_ts": stdev(rates) if len(rates) > 1 else 0.0,
        "samples_ns": [round(one * 1e9) for one in seconds],
        "samples_ts": rates,
    }


def _time(measured_on: str) -> str:
    """As llama-bench writes it: to the second, in UTC."""
    return datetime.fromisoformat(measured_on).strftime("%Y-%m-%dT%H:%M:%SZ") if measured_on else ""
