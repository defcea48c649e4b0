"""Predicted memory against what engines printed in public logs: caches exact, buffers and pools within their goals."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
ENOUGH = 5


@cache
def tool() -> Any:
    """benchmarks/engine_logs.py as a module."""
    spec = importlib.util.spec_from_file_location("engine_logs", ROOT / "benchmarks" / "engine_logs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_logs"] = module
    spec.loader.exec_module(module)
    return module


@cache
def summary() -> dict[tuple[str, str], tuple[int, float, float]]:
    """Facts, median error and 90th percentile by quantity and engine."""
    found = [tool().compared(row) for row in tool().facts()]
    return {(quantity, engine): (n, middle, p90) for quantity, engine, n, middle, p90, _ in tool().table(found)}


def test_caches_are_exact() -> None:
    """Every cache that llama.cpp, ik_llama.cpp and Ollama printed is predicted within 0.1 %: windows, slots, states."""
    wrong = defaultdict(list)
    for row in tool().facts():
        if row["quantity"] in {"kv", "kv_attn", "kv_state"}:
            error = tool().compared(row).error
            if error is None or abs(error) > 0.001:
                wrong[row["id"]].append(error)
    assert not wrong


@pytest.mark.parametrize(
    ("quantity", "engine", "median", "p90"),
    [
        ("compute", "llama.cpp", 0.03, 0.6),
        ("compute", "ik_llama.cpp", 0.03, 0.2),
        ("compute_host", "llama.cpp", 0.001, 0.03),
        ("weights_gpu", "llama.cpp", 0.01, 0.02),
        ("peak", "mlx-lm", 0.03, 0.2),
        ("weights", "vllm", 0.01, 0.03),
        ("activation", "vllm", 0.03, 0.2),
        ("kv_gib", "vllm", 0.04, 0.12),
        ("kv_tokens", "vllm", 0.04, 0.12),
    ],
)
def test_buffers_and_pools_are_near(quantity: str, engine: str, median: float, p90: float) -> None:
    """The errors of docs/memory.md hold: what gets worse is seen."""
    count, middle, high = summary()[quantity, engine]
    assert count >= ENOUGH
    assert middle <= median
    assert high <= p90
