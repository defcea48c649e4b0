"""Decode is told no faster with more in the cache, whatever deeper rows near the case say."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import pytest

from sizer.speed import predict
from sizer.speed.deeper import no_faster_than_shallower
from sizer.speed.law import MEMORY, OVERHEAD, Amount
from sizer.speed.nearby import NO_DEPTH, Row, Rows, Traits, correction
from sizer.speed.stages import Timed
from sizer.workload import Workload
from tests.support.speedcases import case_of

TRAITS = Traits("e b d", "q4_k", "4bit", "m", "F", False, "none 1", 2025, 20.0, -4.6, chip="d")
DEEP = Rows(Row(TRAITS._replace(depth=depth), weight) for depth, weight in ((-4.6, -0.1), (-2.0, 0.2), (0.1, 0.4)))


def told_s(depth: float, rows: Rows) -> tuple[float, float]:
    """Seconds of a step that reads its weights in 8 ms and waits 2, with a cache of this depth: told in order, and as
    the rows say."""
    beside = exp(depth) - NO_DEPTH
    terms = ((Amount("weights", MEMORY, 0.008), 0.008), (Amount("cache", MEMORY, 0.008 * beside), 0.008 * beside))
    step = Timed(0.010 + 0.008 * beside, (*terms, (Amount("step", OVERHEAD, 0.002), 0.002)))
    asked = TRAITS._replace(depth=round(depth, 1))
    said = correction(asked, rows).log_factor
    return step.total_s / exp(no_faster_than_shallower(said, asked, rows, step, beside)), step.total_s / exp(said)


def test_a_deeper_step_takes_no_less() -> None:
    """Over steps of a hundredth, where what deep rows say alone would let it rise."""
    depths = [log(NO_DEPTH) + 0.01 * step for step in range(1, 520)]
    ordered = [told_s(depth, DEEP)[0] for depth in depths]
    assert all(one <= other * (1 + 1e-9) for one, other in pairwise(ordered))
    alone = [told_s(depth, DEEP)[1] for depth in depths]
    assert alone != sorted(alone)
    assert all(one >= other * (1 - 1e-9) for one, other in zip(ordered, alone, strict=True))


@pytest.mark.parametrize("depth", [-4.6, -3.0, 0.0])
def test_rows_that_slow_deep_steps_are_heard_whole(depth: float) -> None:
    """What rows say is left as it is where the step takes longer with them than with less in the cache."""
    slower = Rows(Row(row.traits, -row.weight) for row in DEEP)
    ordered, alone = told_s(depth, slower)
    assert ordered == pytest.approx(alone)


@pytest.mark.parametrize(
    ("model", "engine", "precision", "device"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama.cpp", "q4_k_m", "rtx-4090"),
        ("Qwen/Qwen3-30B-A3B", "llama.cpp", "q4_k_m", "ryzen-ai-max-plus-395"),
        ("google/gemma-3-27b-it", "llama.cpp", "q4_k_m", "arc-pro-b70"),
        ("Qwen/Qwen2.5-7B-Instruct", "vllm", "bf16", "a100-80gb-sxm"),
        ("Qwen/Qwen3-4B", "mistral.rs", "q4_k", "gb10"),
        ("Qwen/Qwen3-8B", "sglang", "fp8", "h20"),
    ],
)
def test_decode_of_measured_cases_never_rises_with_context(
    model: str, engine: str, precision: str, device: str
) -> None:
    """From an empty cache to 128k tokens, where rows of many depths were measured."""
    case = case_of(model, device, engine, precision)
    rates = []
    for step in range(80):
        tokens = round(2 ** (1 + 0.2 * step))
        deeper = case.of_workload(Workload(prompt_tokens=tokens, output_tokens=1, context_tokens=tokens + 1))
        rates.append(predict.decode_of(deeper, predict.constants())[0].tokens_per_s)
    assert all(deeper <= one * (1 + 1e-9) for one, deeper in pairwise(rates))
