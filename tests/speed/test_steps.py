"""Steps of a server: what a scheduler asks the law."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.device.catalogue import find
from sizer.model.read.resolve import resolve
from sizer.precision.store import store
from sizer.speed.case import speed_case
from sizer.speed.law import constants
from sizer.speed.predict import decode_of, prefill_of
from sizer.speed.steps import StepTimes
from sizer.workload import Workload


@pytest.fixture(scope="module")
def times() -> StepTimes:
    """Qwen3-32B in bf16 on an H100 with vLLM."""
    model = resolve("Qwen/Qwen3-32B", offline=True).architecture
    stored = store(model, "fp8", engine="vllm")
    return StepTimes(speed_case(model, stored, find("h100-80gb-sxm"), Workload(), "vllm"))


def test_decode_is_the_laws(times: StepTimes) -> None:
    """A decode step takes what the estimate's takes: at grid points exactly, between them within one percent."""
    for sequences, context in ((1, 16), (16, 1), (5, 1000), (37, 5000), (200, 300)):
        workload = Workload(context, 1, context + 1, sequences)
        law = decode_of(replace(times.case, workload=workload), constants())[0].tpot_s
        assert times.decode_s(sequences, context) == pytest.approx(law, rel=1e-9 if context <= 16 else 0.01)


def test_prefill_is_the_laws(times: StepTimes) -> None:
    """A prompt that fits one chunk takes the estimate's time to the first token within one percent."""
    law = prefill_of(replace(times.case, workload=Workload(700, 1, 701)), constants())[0].ttft_s
    assert times.prefill_s(700) == pytest.approx(law, rel=0.01)


def test_more_work_is_never_faster(times: StepTimes) -> None:
    """More sequences, deeper caches, longer pieces of a prompt and both together take no less time."""
    steps = [times.decode_s(n, 2000) for n in range(1, 300)]
    assert steps == sorted(steps)
    depths = [times.decode_s(8, n) for n in range(0, 40000, 777)]
    assert depths == sorted(depths)
    pieces = [times.prefill_s(n, 1000) for n in range(1, 9000, 101)]
    assert pieces == sorted(pieces)
    both = times.mixed_s(16, 2000, 512, 1000)
    assert both >= max(times.decode_s(16, 2000), times.prefill_s(512, 1000))
    assert both < times.decode_s(16, 2000) + times.prefill_s(528, 1000)


def test_nothing_takes_no_time(times: StepTimes) -> None:
    """A step without sequences and without a prompt takes no time; either alone is its own step."""
    assert times.mixed_s(0, 0, 0) == 0
    assert times.mixed_s(4, 100, 0) == times.decode_s(4, 100)
    assert times.mixed_s(0, 0, 64) == times.prefill_s(64)
