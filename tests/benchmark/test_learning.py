"""Later estimates on a machine learn from the benchmarks that were saved on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sizer.answer.records import Estimate
from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.estimates import estimates
from sizer.api.targets import targets
from sizer.device.detect import detect, this_target
from sizer.device.local_ratios import MOST_KEPT, recall, remember
from sizer.device.measured import folder
from sizer.device.records import LocalRatio, Target
from sizer.model.read.resolve import resolve
from sizer.speed.measured_here import ratio_for


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without benchmarks."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def ratio(decode: float, precision: str = "bf16", engine: str = "transformers") -> LocalRatio:
    """A benchmark's ratios, prefill at half of decode's."""
    return LocalRatio(engine, precision, decode, decode / 2, "2026-11-22T10:00:00")


def estimated(target: Target, precision: str = "bf16") -> Estimate:
    """The estimate of a small model on a target."""
    work = WorkAsked(precisions=(precision,), engine="transformers")
    return next(estimates(resolve("Qwen/Qwen3-0.6B", offline=True), target, work))


def test_ratios_are_kept_and_read_back() -> None:
    """What is remembered is recalled, oldest first, and only so many are kept."""
    for number in range(MOST_KEPT + 5):
        remember(detect(), ratio(1 + number))
    kept = recall(detect())
    assert len(kept) == MOST_KEPT
    assert kept[-1] == ratio(MOST_KEPT + 5)


def test_a_damaged_file_counts_as_none() -> None:
    """Text that is no document of ours is left aside."""
    remember(detect(), ratio(2.0))
    file = next(folder().glob("bench-*.json"))
    file.write_text('{"schema_version": 1, "ratios": [{"engine": 3}]}')
    assert recall(detect()) == ()


def test_the_median_of_the_same_engine_and_precision_counts() -> None:
    """Other precisions and engines do not speak for this one."""
    ratios = (ratio(1.0), ratio(3.0), ratio(2.0), ratio(9.0, "nf4"), ratio(9.0, engine="llama.cpp"))
    found = ratio_for(ratios, "transformers", "bf16")
    assert found is not None
    assert found.decode == 2.0
    assert ratio_for(ratios, "vllm", "bf16") is None


def test_estimates_here_are_scaled_and_say_so() -> None:
    """Decode, interval, prefill and request follow the ratios; another precision stays as it was."""
    (plain,) = targets(DeviceAsked(names=("rtx-4090",)))
    here = replace(plain, local_ratios=(ratio(1.5),))
    before, after = estimated(plain), estimated(here)
    assert before.speed is not None
    assert after.speed is not None
    assert after.speed.decode.tokens_per_s == pytest.approx(1.5 * before.speed.decode.tokens_per_s)
    assert after.speed.decode.low_tokens_per_s == pytest.approx(1.5 * (before.speed.decode.low_tokens_per_s or 0))
    assert after.speed.prefill.ttft_s == pytest.approx(before.speed.prefill.ttft_s / 0.75)
    assert after.speed.request.tokens_per_s * after.speed.request.latency_s == pytest.approx(128)
    assert any("scaled" in note for note in after.assumptions)
    assert estimated(here, "fp16").speed == estimated(plain, "fp16").speed


def test_this_machine_recalls_its_benchmarks() -> None:
    """The target of this machine carries what was saved on it."""
    remember(detect(), ratio(1.25))
    assert this_target().local_ratios == (ratio(1.25),)
