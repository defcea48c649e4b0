"""How many unlike rows a second `sizer sweep` predicts, on one core.

Run: python benchmarks/sweep.py [ROWS] [FILE]. Writes the rows to FILE where one is named, and prints the best of three
sweeps in one process, the tables read before.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from sizer.calibrate.measurements import stream_measurements
from sizer.calibrate.predictions import predict_rows
from sizer.calibrate.row_files import open_rows

MODELS = (
    "meta-llama/Meta-Llama-3-8B-Instruct", "Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B",
    "mistralai/Mixtral-8x7B-v0.1", "google/gemma-3-27b-it", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V2-Lite",
    "microsoft/phi-4", "tiiuae/falcon-mamba-7b",
)  # fmt: skip
CARDS = ("a100", "h100-sxm", "rtx-4090", "rtx-3060", "2x rtx-3090", "mi300x", "jetson-agx-orin-64gb")
APPLE = ("m2-ultra", "m4-pro", "m1-max")
ANYWHERE = (*CARDS, *APPLE, "consumer-cpu")
RUNS = (
    ("llama.cpp", "q4_k_m", ANYWHERE), ("llama.cpp", "q8_0", ANYWHERE), ("ollama", "q4_k_m", ANYWHERE),
    ("vllm", "bf16", CARDS), ("vllm", "awq", CARDS), ("sglang", "fp8", CARDS[:3]), ("transformers", "bf16", CARDS),
    ("transformers", "nf4", CARDS), ("mlx-lm", "mlx-4bit", APPLE), ("exllamav3", "exl3-4.0bpw", CARDS[:5]),
)  # fmt: skip
PROMPTS = (128, 512, 2048, 8192)
BATCHES = (1, 4, 16)
COLUMNS = ("model", "device", "engine", "precision", "prompt_tokens", "batch")
STEP = 7
"""Rows are taken this many apart in the product of all, so that few of them hold most of its values."""


def unlike_rows(count: int) -> Iterator[dict[str, object]]:
    """So many rows of which no two ask the same."""
    runs = [(device, engine, precision) for engine, precision, devices in RUNS for device in devices]
    every = list(product(MODELS, runs, PROMPTS, BATCHES))
    for at in range(min(count, len(every))):
        model, run, prompt, batch = every[at * STEP % len(every)]
        yield dict(zip(COLUMNS, (model, *run, prompt, batch), strict=True))


def write_rows(path: Path, count: int) -> None:
    """Write the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(unlike_rows(count))
    path.write_text(text.getvalue(), encoding="utf-8")


def seconds(path: Path) -> tuple[float, int]:
    """Processor time of one sweep of a file, and how many of its rows were predicted."""
    start = time.process_time()
    told = sum(1 for row in predict_rows(stream_measurements(open_rows(path)), with_flagged=True) if not row.reason)
    return time.process_time() - start, told


def main(count: int, path: Path) -> None:
    """Sweep the file four times; the first reads the tables."""
    write_rows(path, count)
    first, told = seconds(path)
    best = min(seconds(path)[0] for _ in range(3))
    print(f"{count} rows ({told} with predictions): first {count / first:.0f}/s, then {count / best:.0f}/s")


if __name__ == "__main__":
    import tempfile

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    with tempfile.TemporaryDirectory() as folder:
        main(rows, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "rows.csv")
