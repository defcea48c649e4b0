"""Rows of engines under load (`data/serving.csv`): time per output token of `batch_size` concurrent requests.

They teach what batches, tensor-parallel ranks and many sequences cost. Their time to first token includes queueing at
that concurrency and is not used; attention that is replicated by data parallelism or experts spread by expert
parallelism are another law, and left out.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from sizer.calibrate.measurements import Measurement, measurement
from sizer.errors import InvalidInputFile

SOURCE = "serving"
_ENGINES = {"trtllm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang"}
_SYSTEMS = {"b200_sxm": "NVIDIA B200", "h100_sxm": "NVIDIA H100 SXM 80GB", "gb200": "NVIDIA GB200"}
_PRECISIONS = {"fp8": "fp8", "fp8_block": "fp8", "nvfp4": "nvfp4", "int4_wo": "w4a16-int4", "": "bf16"}
MOST_RANKS = 8


def read_serving(path: Path) -> list[Measurement]:
    """The rows of a serving table that one tensor-parallel group served. InvalidInputFile where it is no such table."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        rows = [row for row in reader if _plain(row)]
        if "silicon_tpot_ms" not in (reader.fieldnames or ()):
            raise InvalidInputFile(f"{str(path)!r} has no column 'silicon_tpot_ms'.", "Give data/serving.csv.")
    return [measurement(_as_measurement(row, number)) for number, row in enumerate(rows, 1)]


def _plain(row: Mapping[str, str]) -> bool:
    """One tensor-parallel group on a known system, with a time per token."""
    return (
        row["backend"] in _ENGINES
        and row["system"] in _SYSTEMS
        and (row["attention_dp_size"] or "1") in {"0", "1"}
        and (row["moe_ep_size"] or "1") in {"0", "1"}
        and int(row["tp_size"] or 1) <= MOST_RANKS
        and float(row["silicon_tpot_ms"] or 0) > 0
    )


def _as_measurement(row: Mapping[str, str], number: int) -> dict[str, str]:
    """A serving row in the columns of the measurements: the aggregate speed of its concurrent requests."""
    precision = _PRECISIONS.get(row["gemm_quant_mode"], "bf16")
    if not row["gemm_quant_mode"] and row["precision"] in {"fp8", "fp4"}:
        precision = {"fp8": "fp8", "fp4": "nvfp4"}[row["precision"]]
    if "gpt-oss" in row["model_path"]:
        precision = "mxfp4"
    sequences = int(row["batch_size"])
    return {
        "id": f"{SOURCE} {row['system']}-{number}",
        "engine": _ENGINES[row["backend"]],
        "engine_version": row["backend_version"],
        "backend": "cuda",
        "model": row["model_path"],
        "precision": precision,
        "device": _SYSTEMS[row["system"]],
        "device_count": row["tp_size"],
        "parallelism": "tensor" if row["tp_size"] != "1" else "",
        "batch": str(sequences),
        "prompt_tokens": row["isl"],
        "context_tokens": row["isl"],
        "output_tokens": row["osl"],
        "metric": "decode",
        "decode_tokens_per_s": str(sequences * 1000 / float(row["silicon_tpot_ms"])),
        "flags": "aggregate",
        "source_date": "2026",
    }
