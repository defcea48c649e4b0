"""The llama.cpp backend, with a llama-bench and a binding that stand in for the real ones at their edge."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import pytest
from clirun import Result
from clirun import Run as Sizer
from headerfiles import LLAMA, gguf_bytes, llama_tensors
from randomgguf import write_gguf

from sizer.benchmark.llama_cpp_backend import arguments, parse, run
from sizer.benchmark.observe import physical_cores
from sizer.benchmark.records import Outcome, Spec
from sizer.calibrate.measurements import read_measurements
from sizer.errors import BenchmarkFailed

# The fields of one test in the JSON of llama-bench (build 5000 and later), as its `-o json` prints them.
FIELDS = {
    "build_commit": "abc1234",
    "build_number": 6000,
    "cpu_info": "Some CPU",
    "gpu_info": "",
    "backends": "CPU",
    "model_type": "llama 8B Q4_K - Medium",
    "model_size": 4912898048,
    "model_n_params": 8030261248,
    "n_threads": 4,
    "n_gpu_layers": 0,
}
PROGRAM = """#!{python}
import json, sys
arguments = sys.argv[1:]
value = lambda name: int(arguments[arguments.index(name) + 1])
if "--fail" in {mode!r}:
    sys.stderr.write("main: error: failed to load model\\n")
    sys.exit(1)
repeats, prompt, output = value("-r"), value("-p"), value("-n")
nanoseconds = prompt * 1_000_000 + output * 50_000_000
fields = {fields!r}
print(json.dumps([dict(fields, n_prompt=prompt, n_gen=output, n_depth=value("-d") if "-d" in arguments else 0,
                       samples_ns=[nanoseconds] * repeats)]))
"""


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A file by the name of a model; nothing reads it here."""
    path = tmp_path / "model-Q4_K_M.gguf"
    path.write_bytes(b"GGUF")
    return path


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str = "", **fields: object) -> None:
    program = folder / "bin" / "llama-bench"
    program.parent.mkdir()
    text = PROGRAM.format(python=sys.executable, mode=mode, fields={**FIELDS, **fields})
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def _run(model: Path, **options: object) -> Outcome:
    fields = {"prompt_tokens": 100, "output_tokens": 10, "repeats": 3, **options}
    return run(Spec("llama.cpp", str(model), "q4_k_m", **fields), lambda _stage: None)  # type: ignore[arg-type]


def test_program_is_run_and_read(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Prefill and decode come from two tests, decode with the prompt already in the cache."""
    _install(tmp_path, monkeypatch)
    outcome = _run(gguf)
    assert [(one.prefill_s, one.decode_s) for one in outcome.runs] == [(0.1, 0.5)] * 3
    assert outcome.decode_steps == 10
    assert outcome.weights_bytes == 4912898048
    assert (outcome.threads, outcome.device, outcome.device_name) == (4, "cpu", "Some CPU")
    assert outcome.warmup_runs == 1


def test_gpu_run_does_not_claim_host_memory(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a GPU the process's memory is not the device's: the peak stays unknown."""
    _install(tmp_path, monkeypatch, n_gpu_layers=99, gpu_info="NVIDIA X", backends="CUDA,CPU")
    outcome = _run(gguf)
    assert (outcome.device, outcome.device_name, outcome.peak_memory_bytes) == ("cuda", "NVIDIA X", None)


def test_failing_program_is_told(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The last line that llama-bench wrote is in the error."""
    _install(tmp_path, monkeypatch, mode="--fail")
    with pytest.raises(BenchmarkFailed, match="failed to load model"):
        _run(gguf)


def test_arguments_follow_the_spec(gguf: Path):
    """Threads, layers and the CPU alone are passed on; a hub GGUF goes by -hf."""
    spec = Spec("llama.cpp", str(gguf), threads=8, gpu_layers=20)
    assert arguments(spec, ["-p", "1"])[-4:] == ["-t", "8", "-ngl", "20"]
    assert arguments(Spec("llama.cpp", "org/x-GGUF:Q8_0", device="cpu"), [])[:2] == ["-hf", "org/x-GGUF:Q8_0"]
    assert arguments(Spec("llama.cpp", str(gguf), device="cpu"), [])[-2:] == ["-ngl", "0"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "[{}]", '[{"samples_ns": []}]', '[{"samples_ns": [0]}]', "null"])
def test_unreadable_answers_are_told(text: str):
    """Anything but a list of tests with samples is an error, never a figure."""
    with pytest.raises(BenchmarkFailed, match="cannot be read"):
        parse(text)


def test_a_real_program_s_answer_is_read():
    """What llama-bench 0.5.0 (commit 0c1e570, x86-64 without a GPU) printed for a 207 M Q4_K_M model."""
    text = (Path(__file__).parent.parent / "data" / "bench" / "llama_bench.json").read_text(encoding="utf-8")
    test = parse(text)
    assert (test["model_size"], test["n_threads"], test["backends"]) == (130312192, 2, "CPU")
    assert test["samples_ns"] == [351059986, 268398390]


def test_samples_are_kept():
    """The raw nanoseconds come through."""
    assert parse(json.dumps([{**FIELDS, "samples_ns": [3, 4]}]))["samples_ns"] == [3, 4]


def test_without_llama_cpp_the_way_is_told(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With neither program nor binding, the error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(BenchmarkFailed, match="not here") as caught:
        _run(gguf)
    assert "llama-bench" in caught.value.hint


class Binding:
    """What the backend uses of llama_cpp.Llama, counting evaluations."""

    model = object()

    def __init__(self, **options: object) -> None:
        self.options = options
        self.evaluated: list[int] = []

    def n_vocab(self) -> int:
        """Vocabulary size."""
        return 100

    def reset(self) -> None:
        """Forget the cache."""
        self.evaluated = []

    def eval(self, tokens: list[int]) -> None:
        """Take tokens."""
        self.evaluated.append(len(tokens))

    def sample(self, temp: float) -> int:
        """Choose the next."""
        assert temp == 0.0
        return 1


@pytest.mark.parametrize("case", [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "gpu")])
def test_binding_evaluates_prompt_then_tokens(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[str, bool, str]
):
    """Without the program, the binding reads the prompt at once and then decodes token by token, a thread a core.

    Memory is the process's own only where the layers are: a build without GPU support leaves them in it.
    """
    device, gpu, place = case
    made: list[Binding] = []
    module = types.ModuleType("llama_cpp")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    module.llama_supports_gpu_offload = lambda: gpu  # type: ignore[attr-defined]
    module.llama_model_size = lambda model: 123 if model is Binding.model else 0  # type: ignore[attr-defined]
    module.Llama = lambda **options: made.append(Binding(**options)) or made[-1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_cpp", module)
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = _run(gguf, device=device)
    assert made[0].evaluated == [100] + [1] * 10
    assert made[0].options["n_gpu_layers"] == (0 if device == "cpu" else -1)
    assert made[0].options["n_threads"] == outcome.threads == physical_cores()
    assert (outcome.device, outcome.weights_bytes) == (place, 123)
    assert (outcome.peak_memory_bytes is None) == (place == "gpu")
    assert (len(outcome.runs), outcome.warmup_runs, outcome.decode_steps) == (3, 1, 10)


LISTS = """#!{python}
import json, sys, time
arguments = sys.argv[1:]
values = lambda name: [int(one) for one in arguments[arguments.index(name) + 1].split(",")]
fields = {fields!r}
for depth in values("-d"):
    for prompt, output in [(one, 0) for one in values("-p") if one] + [(0, one) for one in values("-n") if one]:
        if output > 1000:
            time.sleep(600)
        nanoseconds = prompt * 1_000_000 + output * 50_000_000 + depth * 1000
        print(json.dumps(dict(fields, n_prompt=prompt, n_gen=output, n_depth=depth,
                              samples_ns=[nanoseconds] * values("-r")[0])), flush=True)
"""


def _install_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin" / "llama-bench"
    program.parent.mkdir()
    program.write_text(LISTS.format(python=sys.executable, fields=FIELDS), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def _bench_lists(run: Sizer, gguf: Path, *options: str) -> Result:
    return run("bench", str(gguf), "--device", "cpu", "--force", "--offline", *options)


def test_lists_of_a_gguf_file_are_one_run_of_llama_bench(
    run: Sizer, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every cell with its own times, named as llama-bench names it, from one start of the program."""
    _install_lists(tmp_path, monkeypatch)
    gguf.write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    done = _bench_lists(run, gguf, "--prompt", "10,20", "--output", "4", "--depth", "0,1000", "--json")
    assert done.code == 0, done.err
    told = [one["measurement"] for one in json.loads(done.out)]
    assert [one["name"] for one in told] == ["pp10", "pp20", "tg4", "pp10 @ d1000", "pp20 @ d1000", "tg4 @ d1000"]
    assert told[0]["prefill_tokens_per_s"] == pytest.approx(1000)
    assert told[5]["decode_tokens_per_s"] == pytest.approx(4 / 0.201)
    assert told[0]["engine"] == "llama.cpp"


def test_a_prompt_behind_a_depth_is_predicted_slower(
    run: Sizer, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its estimate is the prompt's with the law's speed behind so many cached tokens."""
    _install_lists(tmp_path, monkeypatch)
    gguf.write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    done = _bench_lists(run, gguf, "--prompt", "512", "--output", "4", "--depth", "0,100000", "--json")
    assert done.code == 0, done.err
    rates = {
        one["measurement"]["name"]: one["estimate"]["estimates"][0]["prefill"]["tokens_per_s"]
        for one in json.loads(done.out)
    }
    assert 0 < rates["pp512 @ d100000"] < rates["pp512"]


def test_the_budget_cuts_a_running_generation(run: Sizer, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cell that would take ten minutes is ended with the budget, named, and what was measured before it is told."""
    _install_lists(tmp_path, monkeypatch)
    gguf.write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    for budget in ("8s", "60s"):  # a busy machine may take the first for the start alone
        done = _bench_lists(run, gguf, "--prompt", "10", "--output", "2000", "--budget", budget, "--json")
        if done.code == 0 and json.loads(done.out):
            break
    assert done.code == 0, done.err
    assert [one["measurement"]["name"] for one in json.loads(done.out)] == ["pp10"]
    assert "tg2000" in done.err


def test_several_sequences_of_a_gguf_file_are_refused(
    run: Sizer, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """llama-bench runs one: --batch with more for a GGUF file is a usage error."""
    _install_lists(tmp_path, monkeypatch)
    gguf.write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    assert _bench_lists(run, gguf, "--prompt", "10", "--batch", "1,2").code == 2


def test_what_is_exported_as_llama_bench_is_imported_as_it_was(
    run: Sizer, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Names and figures of the cells come back by `sizer import`; twice imported, the rows are there once."""
    _install_lists(tmp_path, monkeypatch)
    gguf.write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    done = _bench_lists(run, gguf, "--prompt", "10", "--output", "4", "--depth", "0,64", "--format", "llama-bench")
    assert done.code == 0, done.err
    tests = json.loads(done.out)
    assert {(one["n_prompt"], one["n_gen"], one["n_depth"]) for one in tests} == {
        (10, 0, 0), (0, 4, 0), (10, 0, 64), (0, 4, 64),
    }  # fmt: skip
    exported, rows = tmp_path / "cells.json", tmp_path / "rows.csv"
    exported.write_text(done.out, encoding="utf-8")
    for _ in range(2):
        taken = run("import", str(exported), "-d", "ryzen-9-7950x", "-o", str(rows))
        assert taken.code == 0, taken.err
    assert "4 were there already" in taken.err
    read = read_measurements(rows)
    assert len(read) == 4
    assert {round(row.prefill_tokens_per_s or 0) for row in read} == {0, 1000, round(10 / 0.010064)}
    assert {row.precision for row in read} == {tests[0]["precision"]}
    again = run("bench", "--compare", str(exported), str(exported), "--json")
    assert again.code == 0, again.err
    assert {line["verdict"] for line in json.loads(again.out)["lines"]} == {"no difference"}


@pytest.mark.skipif(shutil.which("llama-bench") is None, reason="llama-bench is not on PATH")
def test_the_real_llama_bench_measures_lists(run: Sizer, tmp_path: Path):
    """The program itself takes the arguments, and its lines are read."""
    path = write_gguf(tmp_path / "tiny-Q8_0.gguf")
    done = run("bench", str(path), "--device", "cpu", "--prompt", "16,32", "--output", "4", "--depth", "0,8",
               "--repeats", "2", "--offline", "--json")  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert len(told) == 6
    assert all(one["residual"]["prefill" if one["measurement"]["prompt_tokens"] else "decode"] for one in told)
