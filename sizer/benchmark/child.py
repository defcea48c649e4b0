"""The parent's side: starts the worker, waits on its pipes without spinning, and cleans up whatever happens to it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from sizer.benchmark.death import describe_death, oom_kills
from sizer.benchmark.processes import end_tree
from sizer.benchmark.records import SPEC_FILE, Outcome, Spec
from sizer.benchmark.scratch import scratch_folder
from sizer.errors import BenchmarkFailed, DoesNotFit, ModelError, SizerError, UsageError
from sizer.signals import handled

STDERR_LINES_KEPT = 40
"""Of a child that dies: the last lines hold the reason."""
GRACE_S = 5.0
"""Seconds that a child is given to end by itself before it is killed."""
# Windows does not let Ctrl-C through to a thread that waits: it wakes up to listen for it.
LONGEST_DEAF_S = 1.0
# What asks a program to end: a terminal that closes is SIGHUP, on Windows SIGBREAK.
ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
# The errors a worker may name; anything else that goes wrong in it is a BenchmarkFailed.
ERRORS: Mapping[str, type[SizerError]] = {
    "DoesNotFit": DoesNotFit,
    "ModelError": ModelError,
    "UsageError": UsageError,
    "BenchmarkFailed": BenchmarkFailed,
}

Progress = Callable[[str], None]


def silent(_stage: str) -> None:
    """Show no progress."""


def measure(spec: Spec, timeout_s: float, progress: Progress = silent) -> Outcome:
    """Run `spec` in a child process and return what it measured.

    A child that still runs when its budget (`spec.ends_s`) is over is ended, and what it measured until then counts.
    However the child ends (killed, out of memory, hung beyond `timeout_s`, interrupted), no process and no temporary
    file of it is left. Raises BenchmarkFailed with one line that says what happened, or the error that the child
    named.
    """
    with scratch_folder() as scratch, handled(_interrupt, ENDING_SIGNALS):
        kills_before = oom_kills()
        worker = _start(replace(spec, scratch=str(scratch)))
        listener = _Listener(worker, progress)
        try:
            finished = listener.listen(time.monotonic() + min(timeout_s, _budget_s(spec)))
        except KeyboardInterrupt:
            raise BenchmarkFailed("The benchmark was interrupted.", "Nothing was saved and nothing is left.") from None
        finally:
            _end(worker, listener)
        if not finished and spec.ends_s is not None and _budget_s(spec) <= 0 and listener.partial is None:
            raise BenchmarkFailed("No cell was measured within the budget.", "Raise --budget, or ask for fewer tokens.")
        if not finished and listener.result is None:
            listener.result = listener.partial
        if not finished and listener.result is None:
            raise BenchmarkFailed(
                f"The benchmark hung: no result within {timeout_s:g} s (last seen {listener.stage}).",
                "Raise --timeout, or lower --output and --repeats.",
            )
        if listener.error is not None:
            raise _named_error(listener.error)
        if listener.result is None:
            killed = oom_kills() > kills_before
            raise describe_death(worker.returncode, listener.stage, killed, list(listener.stderr_lines))
        return Outcome.from_dict(listener.result)


def _budget_s(spec: Spec) -> float:
    """Seconds until the budget ends; no end without one."""
    return float("inf") if spec.ends_s is None else max(0.0, spec.ends_s - time.time())


class _Listener:
    """Reads the worker's event lines (stdout) and its talk (stderr) until both end."""

    def __init__(self, worker: subprocess.Popen[bytes], progress: Progress) -> None:
        self.worker = worker
        self.progress = progress
        self.stage = "starting"
        self.result: dict[str, Any] | None = None
        self.partial: dict[str, Any] | None = None
        self.error: dict[str, str] | None = None
        self.stderr_lines: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._rests = {"stdout": b"", "stderr": b""}
        self._chunks: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        # A thread a pipe, because Windows cannot wait for several pipes at once.
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True, name=f"bench-{name}")
            for name, pipe in (("stdout", worker.stdout), ("stderr", worker.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe: IO[bytes]) -> None:
        """Hand on what comes out of one pipe until its end, which is an empty chunk."""
        chunk = b"begin"
        while chunk:
            try:
                chunk = os.read(pipe.fileno(), 65536)
            except (OSError, ValueError):
                chunk = b""
            self._chunks.put((name, chunk))

    def listen(self, deadline: float) -> bool:
        """Wait for the pipes until the worker is done (True) or the deadline has passed (False)."""
        still_open = len(self._readers)
        while still_open and self.result is None and self.error is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            try:
                name, chunk = self._chunks.get(timeout=min(left_s, LONGEST_DEAF_S))
            except queue.Empty:
                continue
            still_open -= not chunk
            self._take(name, chunk)
        if self.result is None and self.error is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.worker.wait(GRACE_S)
        return True

    def close(self, seconds: float) -> None:
        """Read the pipes to their ends, for `seconds` at most, and close them: then none that inherited them lives."""
        deadline = time.monotonic() + seconds
        for reader, pipe in zip(self._readers, (self.worker.stdout, self.worker.stderr), strict=True):
            reader.join(max(0.0, deadline - time.monotonic()))
            if pipe is not None and not reader.is_alive():
                pipe.close()

    def _take(self, name: str, chunk: bytes) -> None:
        *lines, self._rests[name] = (self._rests[name] + chunk).split(b"\n")
        for line in lines:
            if name == "stderr":
                self._talk(line.decode("utf-8", "replace"))
            else:
                self._event(line)

    def _talk(self, line: str) -> None:
        self.stderr_lines.append(line)
        if os.environ.get("SIZER_DEBUG"):
            sys.stderr.write(line + "\n")

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return  # a library printed to stdout before the worker could redirect it
        if not isinstance(event, dict):
            return
        if "stage" in event:
            self.stage = str(event["stage"])
            self.progress(self.stage)
        self.result = event.get("result", self.result)
        self.partial = event.get("partial", self.partial)
        self.error = event.get("error", self.error)


def _start(spec: Spec) -> subprocess.Popen[bytes]:
    """The child that loads and measures: this interpreter, with an environment that keeps libraries quiet and their
    files in the scratch folder."""
    written = Path(spec.scratch) / SPEC_FILE
    try:
        written.write_text(spec.to_json(), encoding="utf-8")
    except OSError as error:
        raise BenchmarkFailed(
            f"{str(written)!r} cannot be written ({error.strerror}).", "Free space, or point TMPDIR elsewhere."
        ) from error
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")])),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), spec.scratch),
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # One tensor at a time: else transformers' loader threads fill the memory faster than it can be quantized.
        "HF_DEACTIVATE_ASYNC_LOAD": "1",
    }
    if spec.offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if spec.threads:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    if spec.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
        [sys.executable, "-m", "sizer.benchmark.worker", str(written)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same for Windows
    )


def _end(worker: subprocess.Popen[bytes], listener: _Listener) -> None:
    """Leave nothing of the worker: close its lifeline, kill all it started, reap it, wait for its grandchildren.

    Ranks that torch's launcher put into sessions of their own hold the lifeline too; the ends of the output pipes,
    which they inherit, tell when the last is gone.
    """
    # A second Ctrl-C must not stop the clean-up half-way, so none is taken until it is over.
    with handled(signal.SIG_IGN):
        if worker.stdin is not None:
            worker.stdin.close()
        end_tree(worker.pid)
        worker.wait()
        listener.close(GRACE_S)


def _named_error(error: Mapping[str, str]) -> SizerError:
    kind = ERRORS.get(error.get("type", ""), BenchmarkFailed)
    return kind(error.get("message", "The benchmark failed."), error.get("hint", ""))


def _interrupt(_number: int, _frame: object) -> None:
    """What ends a program ends it as Ctrl-C does, so that it cleans up."""
    raise KeyboardInterrupt
