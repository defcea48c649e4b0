"""README.md shows what the commands print, and its commands run as written."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path

import pytest

from sizer.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_outputs_and_accuracy_are_current() -> None:
    """Every output block and the accuracy table are what the code makes now."""
    tool = runpy.run_path(str(ROOT / "tools" / "readme.py"))
    assert tool["rendered"](README) == README


def test_first_command_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The command of the first screen answers offline with the exact parameter count."""
    line = next(line for line in README.splitlines() if line.startswith("    pip install . && sizer estimate"))
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(line.split("&& sizer ")[1]))
    assert not stopped.value.code
    assert "8,030,261,248" in capsys.readouterr().out


def test_python_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library example prints a count and a speed."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = README.split("```python\n")[1].split("```")[0]
    exec(code, {})
    count, speed = capsys.readouterr().out.split()
    assert int(count) == 8_190_735_360
    assert float(speed) > 0


def test_ci_calls_the_readmes_test_command() -> None:
    """The CI script takes its test command from the README."""
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "    pip install -c constraints.txt -e '.[test]' && pytest -n auto" in README
