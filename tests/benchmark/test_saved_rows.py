"""A row that a benchmark saved is scored by validate as it was predicted, whatever machine it was measured on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import machinefile
import pytest
from clirun import Run as Command
from tinymodels import write_config

from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.estimates import estimates
from sizer.api.targets import targets
from sizer.benchmark.records import Measurement, Run
from sizer.benchmark.save import append, row
from sizer.calibrate.rows import row_architecture
from sizer.device import measured
from sizer.device.detect import detect, this_target
from sizer.model.read.resolve import resolve
from sizer.workload import Workload

PROBED = {"memory_bandwidth_bytes_per_s": 46.2e9, "measured_at_s": 1.0, "notes": []}
MACHINES = [
    # recorded machine, whether its memory was measured, precision, engine
    ("kvm-epyc-nameless", True, "q4_k_m", "llama.cpp"),
    ("aws-m6a", True, "bf16", "transformers"),
    ("linux-zhaoxin", True, "q4_k_m", "llama.cpp"),
    ("windows-office-one-dimm", False, "q4_k_m", "llama.cpp"),
    ("raspberry-pi-5", False, "q4_k_m", "llama.cpp"),
    ("linux-rtx-5090", False, "q4_k_m", "llama.cpp"),
    ("linux-a100-mig", False, "q4_k_m", "llama.cpp"),
    ("linux-vgpu-a40", False, "q4_k_m", "llama.cpp"),
    ("linux-unknown-nvidia", False, "q4_k_m", "llama.cpp"),
    ("mac-m3-max-30c", False, "q4_k_m", "llama.cpp"),
    ("windows-strix-halo", False, "q4_k_m", "llama.cpp"),
    ("windows-mini-pc-780m", False, "q4_k_m", "llama.cpp"),
]


@pytest.mark.parametrize("case", MACHINES, ids=[case[0] for case in MACHINES])
def test_saved_row_is_scored_as_it_was_predicted(
    case: tuple[str, bool, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Command
) -> None:
    """Measured as predicted, a row has no error in validate: its device, cores, bandwidth and work are the same."""
    name, probed, precision, engine = case
    monkeypatch.setattr(measured, "folder", lambda: tmp_path / "data")
    machine = detect(machinefile.read(name).edge(tmp_path / "root"))
    if probed:
        measured.save(machine, PROBED)
    target = replace(this_target(machine=machine), count=1, others=(), link="", link_bytes_per_s=None)
    architecture = resolve("Qwen/Qwen3-0.6B", offline=True).architecture
    kv_precision = "bf16" if engine == "transformers" else "fp16"
    workload = Workload(512, 128, 640, kv_precision=kv_precision, threads=4 if probed else None)
    predicted = estimate(Question(architecture, target, precision, workload, engine))
    assert predicted.speed is not None
    decode, prefill = predicted.speed.decode.tokens_per_s, predicted.speed.prefill.tokens_per_s
    saved = Measurement(
        engine=engine, precision=precision, prompt_tokens=512, output_tokens=128, batch_size=1,
        decode_tokens_per_s=decode, prefill_tokens_per_s=prefill, ttft_s=1.0, tpot_s=1 / decode, weights_bytes=None,
        peak_memory_bytes=None, load_s=None, random_weights=False, threads=workload.threads, runs=(Run(1.0, 1.0),),
        machine={"fingerprint": "abc"}, versions={}, warnings=(), model=architecture.model_id,
        device="cpu" if target.device.kind == "cpu" else "", measured_on="2026-11-26T12:00:00",
    )  # fmt: skip
    path = tmp_path / "results.csv"
    append(path, row(saved, predicted, "0.1.0"))
    told = json.loads(run("validate", str(path), "--json").out)
    assert (told["scored"], told["skipped"]) == (1, [])
    decoding = next(one for one in told["predictions"] if one["quantity"] == "decode")
    assert decoding["predicted"] == pytest.approx(decode, rel=0.02)


def as_predicted(predicted: Estimate, **fields: Any) -> Measurement:
    """A measurement that came out as an estimate told, of 512 and 128 tokens in bf16."""
    assert predicted.speed is not None
    decode, prefill = predicted.speed.decode.tokens_per_s, predicted.speed.prefill.tokens_per_s
    measured = Measurement(
        engine=predicted.engine, precision="bf16", prompt_tokens=512, output_tokens=128, batch_size=1,
        decode_tokens_per_s=decode, prefill_tokens_per_s=prefill, ttft_s=1.0, tpot_s=1 / decode, weights_bytes=None,
        peak_memory_bytes=None, load_s=None, random_weights=False, threads=None, runs=(Run(1.0, 1.0),), machine={},
        versions={}, warnings=(), measured_on="2026-11-26T12:00:00",
    )  # fmt: skip
    return replace(measured, **fields)


def test_a_row_of_a_directory_is_predicted_by_its_config(tmp_path: Path, run: Command) -> None:
    """A directory is predicted as it was while it is there; then by its size alone, and that is said."""
    folder = write_config(tmp_path / "tiny")
    architecture = resolve(str(folder), offline=True).architecture
    (target,) = targets(DeviceAsked(names=("rtx-4090",)))
    workload = Workload(512, 128, 640, kv_precision="bf16")
    predicted = estimate(Question(architecture, target, "bf16", workload, "transformers"))
    saved = as_predicted(predicted, random_weights=True, model=str(folder), device="cuda")
    path = tmp_path / "results.csv"
    append(path, row(saved, predicted, "0.1.0"))
    told = json.loads(run("validate", str(path), "--json").out)
    assert told["decode"]["median_ape"] < 0.02
    assert told["known_by_size"] == []
    folder.rename(tmp_path / "moved")
    row_architecture.cache_clear()
    moved = json.loads(run("validate", str(path), "--json").out)
    assert len(moved["known_by_size"]) == moved["scored"] == 1
    assert "size alone" in run("validate", str(path)).out


def test_a_row_keeps_the_engines_flags(tmp_path: Path, run: Command) -> None:
    """A server's flags stand in the row, and validate predicts with them."""
    work = WorkAsked(precisions=("bf16",), engine="vllm --enforce-eager", prompt_tokens=512, output_tokens=128)
    (target,) = targets(DeviceAsked(names=("h100",)))
    (predicted,) = estimates(resolve("Qwen/Qwen3-0.6B", offline=True), target, work)
    saved = as_predicted(predicted, model="Qwen/Qwen3-0.6B")
    made = row(saved, predicted, "0.1.0")
    assert made["engine_flags"] == "--enforce-eager"
    path = tmp_path / "results.csv"
    append(path, made)
    told = json.loads(run("validate", str(path), "--json").out)
    assert (told["scored"], told["decode"]["median_ape"] < 0.02) == (1, True)
