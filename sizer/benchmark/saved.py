"""Reads saved benchmark results of any form as cells: their case, and tokens/s of each run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizer.benchmark.backends import tokens_of_prefill
from sizer.benchmark.records import LARGEST_FILE_BYTES
from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass

CASE = ("model", "precision", "engine", "engine_version", "device", "backend", "threads")
"""What may be what is compared: a column with one value in each file, and not the same, is told and not matched."""

CELL = ("metric", "batch", "prompt_tokens", "context_tokens", "output_tokens")
"""What tells one measurement of a case from another."""
LLAMA_BENCH = frozenset({"n_prompt", "n_gen", "samples_ns"})
"""What every test of llama-bench's JSON has."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One saved result: its case and cell by column, tokens/s of each run by quantity, and codes that spoil it."""

    columns: Mapping[str, str]
    runs: Mapping[str, tuple[float, ...]]
    warned: frozenset[str] = frozenset()


def read_saved(path: Path) -> list[Saved]:
    """The results of a file: rows that `--save` wrote, of loads too, or the runs that `--json` or llama-bench printed.

    Raises InvalidInputFile for any other.
    """
    from sizer.calibrate.measurements import read_measurements
    from sizer.serving.points import is_serving_table, read_rows

    if path.exists() and not path.is_file():  # a device or a pipe may never end
        raise InvalidInputFile(f"{str(path)!r} is no file.", "Save some with 'sizer bench --save FILE'.")
    if path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES:
        raise InvalidInputFile(f"{str(path)!r} is larger than {LARGEST_FILE_BYTES // 2**20} MiB.", "Split it.")
    documents = _documents(path)
    if documents is not None:
        return [_of_document(one, path) for one in documents]
    if is_serving_table(path):
        return [_of_load(row) for row in read_rows(path)]
    found = []
    for row in read_measurements(path):
        if row.bad:
            raise InvalidInputFile(f"{str(path)!r}, {row.id}: {row.bad}.", "Mend the cell.")
        columns = {name: str(row.row.get(name) or "") for name in (*CASE, *CELL)}
        runs = {
            quantity: (value,)
            for quantity, value in (("decode", row.decode_tokens_per_s), ("prefill", row.prefill_tokens_per_s))
            if value
        }
        found.append(Saved(columns, runs, row.flags))
    if not found:
        raise InvalidInputFile(f"{str(path)!r} has no rows.", "Save some with 'sizer bench --save FILE'.")
    return found


def _documents(path: Path) -> list[Mapping[str, Any]] | None:
    """The JSON objects of `sizer bench --json` and of llama-bench; None where the file is none."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    listed = whole if isinstance(whole, list) else [whole]
    known = all(isinstance(one, dict) and ("measurement" in one or one.keys() >= LLAMA_BENCH) for one in listed)
    return listed if listed and known else None


def _of_test(test: Mapping[str, Any], path: Path) -> Saved:
    """One test of llama-bench's JSON, whose samples are its runs."""
    try:
        prompt, output, depth = (int(test.get(name) or 0) for name in ("n_prompt", "n_gen", "n_depth"))
        quantity = "decode" if output else "prefill"
        runs = tuple((prompt + output) * 1e9 / float(nanoseconds) for nanoseconds in test["samples_ns"])
        columns = {
            "model": str(test.get("model_filename") or test.get("model_type") or ""),
            "precision": "",
            "engine": str(test.get("engine") or "llama.cpp"),
            "engine_version": str(test.get("build_number") or ""),
            "device": str(test.get("gpu_info") or test.get("cpu_info") or ""),
            "backend": str(test.get("backends") or ""),
            "threads": str(test.get("n_threads") or ""),
            "metric": "request" if prompt and output else "decode",
            **dict(zip(CELL[1:], map(str, (1, prompt, depth, output)), strict=True)),
        }
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InvalidInputFile(f"{str(path)!r} is no result of llama-bench ({error}).") from error
    return Saved(columns, {quantity: runs})


def _of_load(row: Mapping[str, str]) -> Saved:
    """A saved row of a load test: one sequence's tokens/s, and the prompt over the time to its first token.

    Measured means of drawn lengths differ a little: those within a fifth of each other are one cell.
    """
    from sizer.serving.points import point

    one = point(row)
    prompt, output = (
        str(round(2 ** (round(2 * math.log2(tokens)) / 2)))
        for tokens in (one.load.prompt_tokens, one.load.output_tokens)
    )
    columns = {
        "model": one.model,
        "precision": one.precision,
        "engine": one.engine,
        "engine_version": one.engine_version,
        "device": one.device,
        "backend": "",
        "threads": "",
        "metric": "load",
        **dict(zip(CELL[1:], (one.load.words, prompt, prompt, output), strict=True)),
    }
    runs = {
        "decode": (1 / one.tpot_s,) if one.tpot_s else (),
        "prefill": (one.load.prompt_tokens / one.ttft_s,) if one.ttft_s else (),
    }
    return Saved(columns, runs)


def _of_document(document: Mapping[str, Any], path: Path) -> Saved:
    """A result of `bench --json` or of llama-bench as columns and speeds by run. Raises InvalidInputFile for anything
    else."""
    if "measurement" not in document:
        return _of_test(document, path)
    try:
        told = document["measurement"]
        sequences = told["batch_size"] * told.get("concurrency", 1)
        steps = told["output_tokens"] - (0 if "depth_tokens" in told else tokens_of_prefill(told.get("backend", "")))
        prompts = told["prompt_tokens"] * told["batch_size"]
        runs = [(float(run["prefill_s"] or 0), float(run["decode_s"] or 0)) for run in told["runs"]]
        speeds = {
            "decode": tuple(steps * sequences / decode for _, decode in runs if steps > 0 and decode > 0),
            "prefill": tuple(prompts / prefill for prefill, _ in runs if prompts > 0 and prefill > 0),
        }
        columns = {
            **{name: str(told.get(name) or "") for name in ("model", "precision", "engine", "threads")},
            "engine_version": str(told.get("versions", {}).get(told["engine"], "")),
            "device": str(told.get("device_name") or told.get("device") or ""),
            "metric": "decode",
            "batch": str(sequences),
            "prompt_tokens": str(told["prompt_tokens"]),
            "context_tokens": str(told.get("depth_tokens", told["prompt_tokens"])),
            "output_tokens": str(told["output_tokens"]),
        }
        warned = frozenset(str(one["code"]) for one in told.get("warnings", ()))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInputFile(f"{str(path)!r} is no result of 'sizer bench --json' ({error}).") from error
    return Saved(columns, speeds, warned)
