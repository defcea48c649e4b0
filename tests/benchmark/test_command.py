"""`sizer bench` as it is typed: the JSON of the contract, refusals, exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchserver import fake_server
from clirun import Run
from tinymodels import QWEN3, write_config

from sizer.benchmark import save
from sizer.benchmark.run_warnings import Warn
from sizer.calibrate.measurements import read_measurements
from sizer.errors import BenchmarkFailed

pytestmark = pytest.mark.oracle

BENCH = ["--random-weights", "--device", "cpu", "--prompt", "16", "--output", "6", "--repeats", "2", "--offline"]


def _sizer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sizer", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )


def test_json_holds_to_the_contract(tmp_path: Path):
    """Measurement, estimate and residual have the promised keys, and the residual is measured/predicted - 1."""
    folder, saved = write_config(tmp_path / "tiny"), tmp_path / "results.csv"
    done = _sizer("bench", str(folder), *BENCH, "--precision", "bf16", "--save", str(saved), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    measured = document["measurement"]
    promised = (
        "engine precision prompt_tokens output_tokens batch_size decode_tokens_per_s prefill_tokens_per_s ttft_s "
        "tpot_s weights_bytes peak_memory_bytes load_s random_weights threads runs machine versions warnings"
    )
    assert set(promised.split()) <= set(measured)
    assert document["schema_version"] == 1
    assert set(measured["runs"][0]) == {"prefill_s", "decode_s"}
    assert (measured["random_weights"], measured["output_tokens"]) == (True, 6)
    (estimate,) = document["estimate"]["estimates"]
    assert estimate["memory"]["weights_bytes"] == measured["weights_bytes"]
    assert set(document["residual"]) == {"decode", "prefill", "memory", "mbu"}
    predicted = estimate["decode"]["tokens_per_s"]
    if predicted is not None:
        assert document["residual"]["decode"] == pytest.approx(measured["decode_tokens_per_s"] / predicted - 1)
    (row,) = read_measurements(saved)
    assert row.decode_tokens_per_s == pytest.approx(measured["decode_tokens_per_s"], abs=1e-3)
    assert row.bad == ""


def test_measured_stands_beside_predicted(tmp_path: Path):
    """The table names both, counts the warm-up and says what is left out; warnings carry their remedy."""
    folder = write_config(tmp_path / "tiny")
    done = _sizer("bench", str(folder), *BENCH, "--precision", "fp32", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    for words in ("measured", "predicted", "decode, tokens/s", "after 1 uncounted", "warning (few-runs)"):
        assert words in done.stdout
    assert Warn.FEW_RUNS.remedy in " ".join(done.stdout.split())


def test_what_cannot_fit_is_refused(tmp_path: Path):
    """A model that no memory here holds is refused before anything is loaded, with exit 4."""
    huge = {**QWEN3, "hidden_size": 65536, "intermediate_size": 262144, "num_hidden_layers": 200}
    done = _sizer("bench", str(write_config(tmp_path / "huge", huge)), *BENCH)
    assert done.returncode == 4
    assert "--force" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_what_cannot_be_saved_to_is_told_before_the_run(tmp_path: Path):
    """A place that takes no row ends the command before anything is loaded, with exit 5 and one line."""
    folder = write_config(tmp_path / "tiny")
    done = _sizer("bench", str(folder), *BENCH, "--save", "/dev/full", "--format", "csv")
    assert (done.returncode, done.stdout) == (5, "")
    assert "/dev/full" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_measured_results_survive_a_failing_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run):
    """When the row cannot be saved after all, the measurement is printed and the row kept, and the exit is 5."""
    real, saved = save.append, tmp_path / "results.csv"

    def full(path: Path, new_row: dict[str, str]) -> None:
        if path == saved:
            raise BenchmarkFailed("The row could not be saved (No space left on device).", "Free space.")
        real(path, new_row)

    monkeypatch.setattr(save, "append", full)
    with fake_server() as server:
        done = run("bench", "--server", server.url, "--output", "8", "--save", str(saved), "--format", "csv")
    assert done.code == 5
    (row,) = csv.DictReader(done.out.splitlines())
    assert float(row["decode_tokens_per_s"]) > 0
    (kept,) = tmp_path.glob("results-sizer-bench-*.csv")
    assert str(kept) in done.err
    with kept.open(encoding="utf-8", newline="") as lines:
        assert list(csv.DictReader(lines)) == [row]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--output", "1"], 2), (["--engine", "vllm"], 2), (["--precision", "q99"], 2), (["--devices", "2"], 2)],
)
def test_usage_errors_start_nothing(tmp_path: Path, arguments: list[str], code: int):
    """Options that cannot be obeyed end with exit 2 and one line."""
    done = _sizer("bench", str(write_config(tmp_path / "tiny")), "--random-weights", *arguments)
    assert done.returncode == code
    assert done.stderr.strip().count("\n") == 0
