"""Every module and every command on a system without POSIX: what Windows lacks is hidden from sizer's own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchserver import fake_server

from sizer.cli import COMMANDS
from sizer.tables import data_path

ELSEWHERE = Path(__file__).parent / "support" / "elsewhere"
ROOT = Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pkgutil, sizer
names = [found.name for found in pkgutil.walk_packages(sizer.__path__, "sizer.") if not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
import os
from sizer.device import edge
print(len(names), eval("hasattr(os, 'killpg')", {"os": os, "__name__": "sizer.x"}), edge.Edge().system)
"""
DRIVE = """
import contextlib, io, json, sys
from sizer.cli import main
from sizer.device import probe
probe.LARGEST_ARRAY_BYTES = 2**20  # a large cache would ask for gigabytes
ended = {}
for name, arguments in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stopped:
            ended[name] = [stopped.code, len(out.getvalue()), err.getvalue()[-400:]]
print(json.dumps(ended))
"""
ROW = "id,model,device,precision,engine,decode_tokens_per_s\na-1,Qwen/Qwen3-8B,rtx-4090,q4_k_m,llama.cpp,120\n"


def _environment(folder: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ELSEWHERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder), "XDG_DATA_HOME": str(folder / "data"), **more}


def _python(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=_environment(folder, **more),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=900,
    )


def test_every_module_is_imported(tmp_path: Path) -> None:
    """Each module of the package can be imported where POSIX's modules and names are missing."""
    done = _python(tmp_path, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    number, killpg, system = done.stdout.split()
    assert int(number) > 200
    assert (killpg, system) == ("False", "Windows")


def test_every_command_runs(tmp_path: Path) -> None:
    """Each command does its work there and ends with 0; one that this list lacks shows its help."""
    rows = tmp_path / "two words.csv"
    rows.write_text(ROW, encoding="utf-8")
    model, offline = "Qwen/Qwen3-8B", "--offline"
    driven = {
        "estimate": ["estimate", model, offline, "-d", "rtx-4090", "-p", "q4_k_m"],
        "estimate this machine": ["estimate", model, offline, "-p", "q4_k_m"],
        "recommend": ["recommend", "Qwen/Qwen3-0.6B", offline],  # the least of machines holds it
        "fit": ["fit", "-d", "rtx-4090"],
        "hardware": ["hardware", model, offline],
        "probe": ["probe", "--seconds", "0.1"],
        "probe --json": ["probe", "--json"],
        "probe --report": ["probe", "--report"],
        "check": ["check", "-d", "rtx-4090", "--offline", "--", "llama-server", "-hf", f"{model}-GGUF:Q4_K_M"],
        "capacity": ["capacity", model, "-d", "rtx-4090", "--users", "2", "--offline"],
        "sweep": ["sweep", str(rows)],
        "validate": ["validate", str(rows)],
        "devices": ["devices", "4090"],
        "models": ["models", "qwen3"],
        "precisions": ["precisions"],
    }
    helped = {f"{name} --help": [name, "--help"] for name in COMMANDS}
    done = _python(tmp_path, "-c", DRIVE, json.dumps({**driven, **helped}))
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])
    assert {name: outcome for name, outcome in ended.items() if outcome[0] != 0 or not outcome[1]} == {}


def test_bench_measures_and_saves(tmp_path: Path) -> None:
    """A benchmark starts its child, hears it, ends it, saves the row and leaves nothing."""
    saved = tmp_path / "saved rows" / "results.csv"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with fake_server() as server:
        command = ["-m", "sizer", "bench", "--server", server.url, "--output", "4", "--repeats", "1", "--json"]
        done = _python(scratch, *command, "--save", str(saved))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measurement"]["decode_tokens_per_s"] > 0
    assert len(saved.read_text(encoding="utf-8").splitlines()) == 2
    assert [item.name for item in saved.parent.iterdir()] == [saved.name]
    assert [item.name for item in scratch.iterdir() if item.name.startswith("sizer-bench")] == []


def test_failed_bench_is_told(tmp_path: Path) -> None:
    """A child whose server vanishes, and one that hangs, end as everywhere: exit 5, one line, nothing left."""
    for how, words, options in (("vanish", "went away", []), ("hang", "hung", ["--timeout", "2"])):
        with fake_server(how) as server:
            done = _python(tmp_path, "-m", "sizer", "bench", "--server", server.url, "--output", "4", *options)
        assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (5, True, 1), done.stderr
        assert list(tmp_path.glob("sizer-bench-*")) == []


@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "cp437", "ascii"])
def test_consoles_print_what_they_can(encoding: str, tmp_path: Path) -> None:
    """No console's code page stops an answer: what it lacks is written plainly or as a question mark."""
    folder = tmp_path / "模型 größe"
    folder.mkdir()
    config = data_path("configs") / "Qwen--Qwen3-8B.json"
    (folder / "config.json").write_bytes(config.read_bytes())
    command = ["-m", "sizer", "estimate", str(folder), "--offline", "-d", "rtx-4090", "-p", "q4_k_m"]
    done = _python(tmp_path, *command, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "q4_k_m" in done.stdout
    missing = _python(
        tmp_path, "-m", "sizer", "estimate", "模型/größe", "--offline", "-d", "a100", PYTHONIOENCODING=encoding
    )
    assert missing.returncode == 3
    assert missing.stderr.startswith("sizer: ")
    assert missing.stderr.count("\n") == 1
