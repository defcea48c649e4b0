"""Figures out of raw runs, warnings out of counters, and the plan out of options."""

from __future__ import annotations

import math
import os
import subprocess
import types
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinymodels import QWEN3, write_config

from sizer.benchmark.death import describe_death
from sizer.benchmark.observe import Snapshot, judge_machine, process_peak_bytes
from sizer.benchmark.observe_gpu import held_down_ns, judge_gpus, used_bytes
from sizer.benchmark.plan import Asked, spec_of
from sizer.benchmark.recipes_transformers import precisions, recipe
from sizer.benchmark.records import Outcome, Run, Spec
from sizer.benchmark.run_warnings import Warn, judge_runs
from sizer.benchmark.summary import measurement
from sizer.errors import BenchmarkFailed, UsageError
from sizer.model.read.resolve import Resolved, resolve

SPEC = Spec("transformers", "m", "bf16", prompt_tokens=100, output_tokens=11)
OUTCOME = Outcome("transformers", (Run(1.0, 2.0), Run(2.0, 4.0), Run(3.0, 9.0)), 1, 100, 10, precision="bf16")


def test_medians_are_of_the_raw_runs():
    """Decode is steps over the median time, prefill the prompt over its median, and the best is the best."""
    made = measurement(SPEC, OUTCOME, {}, "2026-11-22")
    assert made.tpot_s == 0.4
    assert made.decode_tokens_per_s == 2.5
    assert made.prefill_tokens_per_s == 50.0
    assert made.ttft_s == 2.0
    assert made.decode_best_tokens_per_s == 5.0
    assert made.runs == OUTCOME.runs
    assert made.output_tokens == 11


def test_batch_counts_prompts_together_and_decode_apart():
    """Prefill counts all prompts, decode one sequence, throughput all."""
    made = measurement(replace(SPEC, batch_size=4), OUTCOME, {}, "")
    assert made.prefill_tokens_per_s == 200.0
    assert made.decode_tokens_per_s == 2.5
    assert made.throughput_tokens_per_s == pytest.approx(4 * 11 / 6.0)


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=9))
def test_a_slower_machine_is_slower_in_everything(pairs: list[tuple[float, float]]):
    """Twice the times are half the rates and the same spread."""
    runs = tuple(Run(*pair) for pair in pairs)
    once = measurement(SPEC, replace(OUTCOME, runs=runs), {}, "")
    twice = measurement(SPEC, replace(OUTCOME, runs=tuple(Run(2 * r.prefill_s, 2 * r.decode_s) for r in runs)), {}, "")
    assert math.isclose(twice.decode_tokens_per_s * 2, once.decode_tokens_per_s)
    assert math.isclose(twice.prefill_tokens_per_s * 2, once.prefill_tokens_per_s)
    assert (once.decode_spread is None) == (len(runs) == 1)
    if once.decode_spread is not None:
        assert math.isclose(once.decode_spread, twice.decode_spread or 0, abs_tol=1e-9)


def test_no_time_is_no_measurement():
    """A run without decode time is an error, never an infinite speed."""
    with pytest.raises(BenchmarkFailed, match="no token"):
        measurement(SPEC, replace(OUTCOME, runs=(Run(1.0, 0.0),)), {}, "")


def test_outcome_crosses_the_process_boundary():
    """What the child writes is what the parent reads."""
    outcome = replace(OUTCOME, cautions=(Warn.SPILLED.caution("x"),))
    assert Outcome.from_dict(outcome.to_dict()) == outcome
    assert Spec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("runs", "codes"),
    [
        ([Run(1.0, 1.0)], ["few-runs"]),
        ([Run(1.0, 1.0), Run(1.0, 1.01)], []),
        ([Run(1.0, 1.0), Run(1.0, 2.0)], ["noisy"]),
        ([Run(1.0, 1.0), Run(2.0, 1.0)], ["noisy"]),
        ([Run(0.1, 0.1), Run(0.1, 0.1)], ["short-run"]),
    ],
)
def test_runs_judge_themselves(runs: list[Run], codes: list[str]):
    """One run, a spread over 10 % and a run under a second are each warned about, good runs are not."""
    assert [caution.code for caution in judge_runs(runs)] == codes


def test_every_warning_has_a_remedy():
    """The list is closed: codes are unique, and each says what to do."""
    assert len({warn.code for warn in Warn}) == len(Warn)
    assert all(warn.remedy.endswith(".") for warn in Warn)


CALM = Snapshot(busy_s=10, own_s=5, wall_s=0, swapped_pages=3, throttled=1, quota_waits=2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"busy_s": 1e6}, "other-process"),
        ({"swapped_pages": 4}, "swapping"),
        ({"throttled": 2}, "throttled"),
        ({"quota_waits": 3}, "cpu-quota"),
    ],
)
def test_counters_that_grew_are_told(changes: dict[str, float], code: str):
    """Foreign work, swapping, throttling and quota waits between two looks are warned about; own work is not."""
    quiet = replace(CALM, wall_s=10.0, busy_s=20.0, own_s=15.0)
    codes = [caution.code for caution in judge_machine(CALM, quiet)]
    assert code not in codes
    assert code in [caution.code for caution in judge_machine(CALM, replace(quiet, **changes))]


class Nvml(types.ModuleType):
    """NVIDIA's library at its edge: one GPU, with given processes and nanoseconds held down."""

    NVMLError = RuntimeError
    NVML_PERF_POLICY_POWER, NVML_PERF_POLICY_THERMAL = 0, 1

    def __init__(self, processes: list[int], held_ns: int | None) -> None:
        super().__init__("pynvml")
        self.processes = processes
        self.held_ns = held_ns

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        """The one GPU."""
        if uuid != "GPU-1":
            raise self.NVMLError
        return uuid

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[types.SimpleNamespace]:  # noqa: N802
        """As given."""
        return [types.SimpleNamespace(pid=pid) for pid in self.processes]

    def nvmlDeviceGetViolationStatus(self, _handle: str, policy: int) -> types.SimpleNamespace:  # noqa: N802
        """All of it by heat; None is a card that does not count."""
        if self.held_ns is None:
            raise self.NVMLError
        return types.SimpleNamespace(violationTime=self.held_ns * policy)

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> types.SimpleNamespace:  # noqa: N802
        """A GiB in use."""
        return types.SimpleNamespace(used=2**30)


@pytest.mark.parametrize(
    ("processes", "held_ns", "codes"),
    [
        ([], 0, []),
        ([], None, []),
        ([os.getpid()], 10_000_000, []),
        ([1], 0, ["other-process"]),
        ([], 3_000_000_000, ["throttled"]),
    ],
)
def test_gpu_driver_is_listened_to(
    processes: list[int], held_ns: int | None, codes: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Another process on the GPU (here: init) and clocks held down over 2 % of 10 s are warned about, no less is."""
    monkeypatch.setattr("sizer.device.edge.load_nvml", lambda: Nvml(processes, 0))
    before = held_down_ns(["GPU-1", "GPU-gone"])
    monkeypatch.setattr("sizer.device.edge.load_nvml", lambda: Nvml(processes, held_ns))
    assert [caution.code for caution in judge_gpus(["GPU-1"], before, 10.0)] == codes
    assert used_bytes(["GPU-1", "GPU-gone"]) == 2**30


def test_own_processes_on_a_gpu_are_not_foreign(monkeypatch: pytest.MonkeyPatch):
    """A child in its own session (as torch starts its ranks) and a process that is gone are not warned of."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        monkeypatch.setattr("sizer.device.edge.load_nvml", lambda: Nvml([child.pid, 2**22 + 1], 0))
        assert judge_gpus(["GPU-1"], {}, 10.0) == []
    finally:
        child.kill()
        child.wait()


def test_no_gpu_is_not_asked_about():
    """Without GPUs the driver is left alone."""
    assert judge_gpus([], {}, 1.0) == []


def test_peak_counts_what_was_touched():
    """The process's peak grows by what is allocated and touched."""
    before = process_peak_bytes()
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    after = process_peak_bytes()
    assert before is not None
    assert after is not None
    assert after >= 300_000_000
    assert after >= before


@pytest.mark.parametrize(
    ("returncode", "oom", "stderr", "words"),
    [
        (-9, True, [], "for want of memory"),
        (-9, False, [], r"was killed \(SIGKILL\)"),
        (0xC0000005, False, [], r"crashed \(access violation\)"),
        (0xC0000017, False, [], "ran out of memory"),
        (-6, False, ["terminate called after throwing 'std::bad_alloc'"], "ran out of memory"),
        (-11, False, ["Segfault"], r"crashed \(SIGSEGV\)"),
        (1, False, ["OSError: [Errno 28] No space left on device"], "disk is full"),
        (1, False, ["RuntimeError: can't start new thread"], "ran out of memory"),
        (3, False, ["something odd", ""], "status 3 while loading: something odd"),
    ],
)
def test_deaths_are_told_apart(returncode: int, oom: bool, stderr: list[str], words: str):
    """Each way to die has its own line and a hint."""
    error = describe_death(returncode, "loading", oom, stderr)
    with pytest.raises(BenchmarkFailed, match=words):
        raise error
    assert error.hint
    assert "\n" not in str(error)


@pytest.fixture
def plain(tmp_path: Path) -> Resolved:
    """A folder with only a config."""
    return resolve(str(write_config(tmp_path / "plain")), offline=True)


def test_default_is_a_small_model_with_random_weights():
    """Without MODEL a catalogued model runs with random weights, at its own precision."""
    spec = spec_of(Asked(), resolve("Qwen/Qwen3-0.6B", offline=True))
    assert (spec.backend, spec.precision, spec.random_weights) == ("transformers", "bf16", True)
    assert spec.config is not None
    assert spec.config["model_type"] == "qwen3"


def test_folder_without_weights_is_told(plain: Resolved):
    """Nothing to load is an error that offers random weights; pickled weights are refused by name."""
    asked = Asked(model=plain.text)
    with pytest.raises(BenchmarkFailed, match="no weights"):
        spec_of(asked, plain)
    (Path(plain.text) / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BenchmarkFailed, match="pickled"):
        spec_of(asked, plain)
    assert spec_of(replace(asked, random_weights=True), plain).config is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"output_tokens": 1},
        {"engine": "vllm"},
        {"concurrency": 2},
        {"device_count": 2},
        {"device": "rtx-4090"},
        {"server_url": "http://x", "random_weights": True},
        {"precision": "q4_k_m", "engine": "llama.cpp"},
    ],
)
def test_contradicting_options_are_usage_errors(changes: dict[str, object], plain: Resolved):
    """Options that cannot be obeyed together are refused before anything is started."""
    with pytest.raises(UsageError):
        spec_of(replace(Asked(model=plain.text, random_weights=True), **changes), plain)


@pytest.mark.parametrize("precision", precisions())
def test_every_precision_has_a_recipe(precision: str):
    """Each name leads to a dtype and at most one way of quantizing."""
    made = recipe(precision, QWEN3)
    assert made.dtype in ("float32", "float16", "bfloat16")
    assert not (made.bitsandbytes and made.stored)


def test_stored_quantization_is_not_overruled():
    """A GPTQ repository runs as it is, and never as bf16 or nf4."""
    stored = {**QWEN3, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}
    assert recipe("", stored).stored["group_size"] == 32
    assert recipe("gptq-int4-g32", stored).stored["group_size"] == 32
    for precision in ("bf16", "nf4"):
        with pytest.raises(UsageError, match="stored as 'gptq'"):
            recipe(precision, stored)
    assert recipe("gptq-int4-g64", QWEN3).stored["group_size"] == 64


def test_a_repositorys_own_exceptions_hold():
    """What a bitsandbytes repository leaves in 16 bits stays there with made-up weights too."""
    own = {"quant_method": "bitsandbytes", "load_in_4bit": True, "llm_int8_skip_modules": ["lm_head", "model.a"]}
    made = recipe("nf4", {**QWEN3, "quantization_config": own})
    assert made.bitsandbytes["llm_int8_skip_modules"] == ["lm_head", "model.a"]


def test_gguf_types_are_not_for_transformers():
    """A GGUF type asked of the transformers backend says where it runs."""
    with pytest.raises(UsageError, match="q4_k_m"):
        recipe("q4_k_m", QWEN3)
