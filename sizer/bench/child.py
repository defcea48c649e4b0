"""The parent's side: starts the worker, waits on its pipes without spinning, and cleans up whatever happens to it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sizer.bench.death import describe_death, oom_kills
from sizer.bench.records import Outcome, Spec
from sizer.bench.scratch import scratch_folder
from sizer.errors import BenchmarkFailed, DoesNotFit, ModelError, SizerError, UsageError

STDERR_LINES_KEPT = 40
GRACE_S = 5.0
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

    However the child ends (killed, out of memory, hung beyond `timeout_s`, interrupted), no process and no temporary
    file of it is left. Raises BenchmarkFailed with one line that says what happened, or the error that the child
    named.
    """
    with scratch_folder() as scratch, _terminable():
        kills_before = oom_kills()
        worker = _start(replace(spec, scratch=str(scratch)))
        listener = _Listener(worker, progress)
        try:
            finished = listener.listen(time.monotonic() + timeout_s)
        except KeyboardInterrupt:
            raise BenchmarkFailed("The benchmark was interrupted.", "Nothing was saved and nothing is left.") from None
        finally:
            _end(worker)
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


class _Listener:
    """Reads the worker's event lines (stdout) and its talk (stderr) until both end."""

    def __init__(self, worker: subprocess.Popen[bytes], progress: Progress) -> None:
        self.worker = worker
        self.progress = progress
        self.stage = "starting"
        self.result: dict[str, Any] | None = None
        self.error: dict[str, str] | None = None
        self.stderr_lines: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._rests = {"stdout": b"", "stderr": b""}

    def listen(self, deadline: float) -> bool:
        """Block on the pipes until the worker is done (True) or the deadline has passed (False)."""
        assert self.worker.stdout is not None
        assert self.worker.stderr is not None
        with selectors.DefaultSelector() as pipes:
            pipes.register(self.worker.stdout, selectors.EVENT_READ, "stdout")
            pipes.register(self.worker.stderr, selectors.EVENT_READ, "stderr")
            while pipes.get_map() and self.result is None and self.error is None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                for key, _ in pipes.select(left_s):
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        pipes.unregister(key.fileobj)
                    self._take(key.data, chunk)
        if self.result is None and self.error is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.worker.wait(GRACE_S)
        return True

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
        self.error = event.get("error", self.error)


def _start(spec: Spec) -> subprocess.Popen[bytes]:
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")])),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": spec.scratch,
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
        [sys.executable, "-m", "sizer.bench.worker", spec.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Leave nothing of the worker: close its lifeline, kill its process group, reap it, wait for its grandchildren.

    Ranks that torch's launcher put into sessions of their own hold the lifeline too; the ends of the output pipes,
    which they inherit, tell when the last is gone.
    """
    # A second Ctrl-C must not stop the clean-up half-way, so none is taken until it is over.
    with _deaf_to_interrupts():
        if worker.stdin is not None:
            worker.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        _drain(worker, GRACE_S)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    try:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread: no KeyboardInterrupt is raised here anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _drain(worker: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as pipes:
        for pipe in (worker.stdout, worker.stderr):
            if pipe is not None and not pipe.closed:
                pipes.register(pipe, selectors.EVENT_READ)
        while pipes.get_map() and (left_s := deadline - time.monotonic()) > 0:
            for key, _ in pipes.select(left_s):
                if not os.read(key.fd, 65536):
                    pipes.unregister(key.fileobj)
    for pipe in (worker.stdout, worker.stderr):
        if pipe is not None:
            pipe.close()


def _named_error(error: Mapping[str, str]) -> SizerError:
    kind = ERRORS.get(error.get("type", ""), BenchmarkFailed)
    return kind(error.get("message", "The benchmark failed."), error.get("hint", ""))


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a benchmark as Ctrl-C does, so that it cleans up (main thread only)."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            previous[number] = signal.signal(number, interrupt)
    except ValueError:
        pass  # not the main thread: the caller's signals are the caller's
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
