"""A console's code page: what it lacks is written as people type it, what nobody types as a question mark."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sizer.cli.console import print_what_can_be_printed

TEXT = "2\u00d7 RTX 4090 \u2192 \u2264 24 GiB \u2026 gr\u00f6\u00dfe \u6a21\u578b \u2013 \u00b1 5 %"
PRINTED = {
    "utf-8": TEXT,
    "cp1252": "2\u00d7 RTX 4090 -> <= 24 GiB \u2026 gr\u00f6\u00dfe ?? \u2013 \u00b1 5 %",
    "cp437": "2x RTX 4090 -> \u2264 24 GiB ... gr\u00f6\u00dfe ?? - \u00b1 5 %",
    "cp936": "2\u00d7 RTX 4090 \u2192 \u2264 24 GiB \u2026 gr??e \u6a21\u578b \u2013 \u00b1 5 %",
    "ascii": "2x RTX 4090 -> <= 24 GiB ... gr??e ?? - +- 5 %",
}


@pytest.mark.parametrize("encoding", PRINTED)
def test_signs_are_printed_as_plainly_as_needed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each encoding prints what it has, a sign's plain spelling where it has not, and never raises."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, newline=""))
    print_what_can_be_printed()
    sys.stdout.write(TEXT)
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding) == PRINTED[encoding]


ESTIMATE = ("estimate", "Qwen/Qwen3-8B", "-d", "a100", "-p", "bf16", "--offline")
DOORS = [ESTIMATE, ("--help",), ("--version",), ("estimate", "--help"), ("precisions", "--format", "csv")]


def _ended(arguments: tuple[str, ...], redirected: str, **environment: str) -> tuple[int, str]:
    """Exit code and stderr of the command line under a shell's redirection."""
    command = ["sh", "-c", f'"$0" -m sizer "$@" {redirected}', sys.executable, *arguments]
    found = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
    return found.returncode, found.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", DOORS, ids=" ".join)
def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    """Output that the disk does not take ends with 2 and the reason, also for help; no traceback, no second message."""
    assert _ended(arguments, "> /dev/full") == (2, "sizer: No space left on device.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no sh")
@pytest.mark.parametrize("arguments", DOORS, ids=" ".join)
def test_closed_output_ends_quietly(arguments: tuple[str, ...]) -> None:
    """Without a stdout or a reader there is nobody to write to, and nothing to complain of."""
    assert _ended(arguments, ">&-") == (0, "")
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe:
        found = subprocess.run(
            [sys.executable, "-m", "sizer", *arguments], check=False, stdout=pipe, stderr=subprocess.PIPE
        )
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="no sh")
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_code(redirected: str) -> None:
    """A usage error is 2 and a missing model 3, whether or not stderr takes the line."""
    if "full" in redirected and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    assert _ended(("estimate", "8B", "-d", "nosuch"), redirected)[0] == 2
    assert _ended(("estimate", "./nosuch.gguf", "-d", "a100"), redirected)[0] == 3


def test_a_chinese_path_on_a_latin_1_console(tmp_path: Path) -> None:
    """The error is one line with its code, what the console lacks a question mark."""
    missing = str(tmp_path / "\u6a21\u578b.gguf")
    code, told = _ended(("estimate", missing, "-d", "a100"), "", PYTHONIOENCODING="latin-1")
    assert (code, told.count("\n")) == (3, 1)
    assert "??.gguf" in told


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child alone")
@pytest.mark.parametrize("module", ["click", "sizer.cli", "sizer.cli.estimate", "sizer.answer.estimate", "dataclasses"])
def test_ctrl_c_while_loading_is_130(module: str, tmp_path: Path) -> None:
    """An interrupt that comes as any module is imported, an exec of it included, ends with 130 and no traceback."""
    (tmp_path / "interrupting.py").write_text(INTERRUPTING.format(module=module))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import interrupting; import sizer.__main__ as door"
    command = [sys.executable, "-c", f"{code}; sys.argv[1:] = {list(ESTIMATE)!r}; door.main()"]
    found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert found.returncode == 130
    assert found.stderr.strip() == "sizer: interrupted."


INTERRUPTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            exec("os.kill(os.getpid(), signal.SIGINT)")

if {module!r} == "dataclasses":
    import dataclasses
    def interrupted(*args, **kwargs):
        exec("os.kill(os.getpid(), signal.SIGINT)")
    dataclasses._process_class = interrupted
sys.meta_path.insert(0, Interrupting())
"""


ENDING = """
import atexit, sys, threading, time
import sizer.cli
def work():
    time.sleep(0.2)
    print("thread done")
def run():
    atexit.register(print, "at exit")
    {before}
    print("written", end="\\n")
    sys.exit({code})
sizer.cli.main = run
from sizer.__main__ import main
main()
"""


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize(
    ("before", "told"),
    [("", "written\nat exit\n"), ("threading.Thread(target=work).start()", "written\nthread done\nat exit\n")],
)
def test_the_end_loses_nothing(before: str, told: str, code: int) -> None:
    """What was written is flushed, threads are waited for, exit functions run, and the code stays."""
    run = subprocess.run(
        [sys.executable, "-c", ENDING.format(before=before, code=code)], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr, run.returncode) == (told, "", code)
