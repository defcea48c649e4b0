"""Whatever becomes of the child process: one clear error, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchserver import UNMISTAKABLE_S, fake_server

from sizer.benchmark import child
from sizer.benchmark.child import measure
from sizer.benchmark.records import Spec
from sizer.benchmark.scratch import PREFIX, scratch_folder
from sizer.errors import BenchmarkFailed

if TYPE_CHECKING:
    import psutil

WAIT_S = 300
"""Longer than a busy machine takes: only what hangs waits so long."""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own, which must be empty afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def _spec(url: str) -> Spec:
    return Spec("server", "", server_url=url, prompt_tokens=8, output_tokens=4, repeats=1)


def _workers(parent: int | None = None) -> list[psutil.Process]:
    import psutil

    return [process for process in psutil.Process(parent).children(recursive=True) if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    import psutil

    try:
        return "sizer.benchmark.worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie; it may end while it is looked at."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def _while_hanging(url: str, action: Callable[[psutil.Process], None]) -> Callable[[str], None]:
    """A progress callback that does something to the worker once it hangs in its warm-up."""

    def progress(stage: str) -> None:
        if stage.startswith("warming up"):
            threading.Thread(target=lambda: action(_workers()[0]), daemon=True).start()

    return progress


def test_result_comes_through(scratch: Path):
    """A run that goes well gives its outcome."""
    with fake_server() as server:
        server.gap_s = UNMISTAKABLE_S
        outcome = measure(_spec(server.url), WAIT_S)
    assert len(outcome.runs) == 1
    assert not _workers()


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGKILL, "was killed"), (signal.SIGSEGV, "crashed"), (signal.SIGABRT, "crashed")]
)
def test_killed_child_is_survived(scratch: Path, number: signal.Signals, words: str):
    """kill -9 and crashes are told apart, in one line that says at what stage."""
    with fake_server("hang") as server, pytest.raises(BenchmarkFailed, match=words) as caught:
        measure(_spec(server.url), WAIT_S, _while_hanging(server.url, lambda worker: worker.send_signal(number)))
    assert "warming up" in caught.value.message
    assert "\n" not in str(caught.value)
    assert not _workers()


def test_hang_ends_at_the_timeout(scratch: Path):
    """A child that never answers is ended at the timeout."""
    with fake_server("hang") as server, pytest.raises(BenchmarkFailed, match="hung: no result within 2 s"):
        measure(_spec(server.url), 2)
    assert not _workers()


def test_vanished_server_is_told(scratch: Path):
    """The child's own error reaches the user, as exit code 5."""
    with fake_server("vanish") as server, pytest.raises(BenchmarkFailed, match="went away") as caught:
        measure(_spec(server.url), WAIT_S)
    assert caught.value.exit_code == 5


def test_a_missing_package_is_told_by_the_launcher_too(
    scratch: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """Where torch, which starts a rank for each device, is not installed, the error says what to install."""
    without = tmp_path_factory.mktemp("without")
    (without / "torch.py").write_text("raise ModuleNotFoundError('No module', name='torch')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(without), os.environ.get("PYTHONPATH", ""))))
    spec = Spec("transformers", "Qwen/Qwen3-0.6B", parallelism="tensor", device_count=2)
    with pytest.raises(BenchmarkFailed, match="'torch' is not installed") as failed:
        measure(spec, WAIT_S)
    assert "sizer-llm[bench]" in failed.value.hint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_cleans_up(tmp_path: Path, number: signal.Signals):
    """Ctrl-C, SIGTERM and SIGHUP end command and child, exit 5, with one line and nothing left."""
    with fake_server("hang") as server:
        command = _start_command(tmp_path, server.url)
        _until(lambda: server.bodies)
        (worker,) = _workers(command.pid)
        command.send_signal(number)
        out, err = command.communicate(timeout=WAIT_S)
    assert (command.returncode, out) == (5, "")
    assert err.strip().count("\n") == 0
    assert "interrupted" in err
    assert not _runs(worker)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process groups and /proc as on Linux")
def test_child_dies_with_a_killed_parent(tmp_path: Path):
    """kill -9 of the command takes the child with it; the next run sweeps what it left."""
    with fake_server("hang") as server:
        command = _start_command(tmp_path, server.url)
        _until(lambda: server.bodies)
        (worker,) = _workers(command.pid)
        command.kill()
        command.communicate(timeout=WAIT_S)
        _until(lambda: not _runs(worker))
    assert list(tmp_path.glob(f"{PREFIX}*"))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    sweep = "from sizer.benchmark.scratch import scratch_folder\nwith scratch_folder(): pass"
    subprocess.run([sys.executable, "-c", sweep], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_scratch_of_a_living_run_is_left_alone(scratch: Path):
    """A second benchmark does not sweep the first one's folder."""
    with scratch_folder() as first, scratch_folder():
        assert first.is_dir()


def test_no_room_for_a_temporary_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A temporary folder that cannot be made is one clear line, exit 5."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(BenchmarkFailed, match="No temporary folder"), scratch_folder():
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full disk of Linux")
def test_full_output_is_told(tmp_path: Path):
    """A disk that is full behind stdout ends with exit 5 and one line."""
    with fake_server() as server, Path("/dev/full").open("w", encoding="utf-8") as full:
        server.gap_s = UNMISTAKABLE_S
        done = subprocess.run(
            [sys.executable, "-m", "sizer", "bench", "--server", server.url, "--output", "4", "--repeats", "1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    assert done.returncode == 5
    assert "could not be written" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_parent_does_not_spin(scratch: Path, monkeypatch: pytest.MonkeyPatch):
    """While the child works the parent waits: it looks once a piece of news or once a second, not all along."""
    looks, began = [], time.monotonic()

    class Counted(child.queue.SimpleQueue):  # type: ignore[type-arg]
        """A queue that keeps how long each look was ready to wait."""

        def get(self, block: bool = True, timeout: float | None = None) -> object:
            looks.append(timeout)
            news: object = super().get(block, timeout)
            came.append(news)
            return news

    came: list[object] = []
    monkeypatch.setattr(child.queue, "SimpleQueue", Counted)
    with fake_server() as server:
        server.gap_s = UNMISTAKABLE_S
        measure(_spec(server.url), WAIT_S)
    assert looks
    assert all(wait == child.LONGEST_DEAF_S for wait in looks)
    assert len(looks) <= len(came) + 1 + (time.monotonic() - began) / child.LONGEST_DEAF_S


def _start_command(folder: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sizer", "bench", "--server", url, "--output", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
