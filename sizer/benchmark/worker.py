"""The child process: `python -m sizer.benchmark.worker FILE` runs one backend and writes event lines to stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sizer.benchmark.backends import BACKENDS
from sizer.benchmark.death import disk_full, is_disk_talk, is_memory_talk, out_of_memory
from sizer.benchmark.parent_watch import hold
from sizer.benchmark.records import Outcome, Spec
from sizer.errors import BenchmarkFailed, DoesNotFit, ModelError, SizerError, UsageError

EXTRA = frozenset({"torch", "transformers", "accelerate", "bitsandbytes", "numpy"})
"""What the `bench` extra installs; anything else that is missing is the package of a stored format."""

Stage = Callable[[str], None]


class Events:
    """Writes events to the stdout the parent gave; everything else that is printed goes to stderr."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        self.last_stage = "starting"

    def send(self, **event: Any) -> None:
        """One event as one line, in one write."""
        line = json.dumps(event).encode() + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]

    def keep(self, outcome: Outcome) -> None:
        """What is measured so far: the result, should this process be ended now."""
        if is_first_rank():
            self.send(partial=outcome.to_dict())

    def stage(self, name: str) -> None:
        """Tell what is being done now."""
        self.last_stage = name
        if is_first_rank():
            self.send(stage=name)


def is_first_rank() -> bool:
    """Whether this process speaks for all ranks."""
    return os.environ.get("RANK", "0") == "0"


def main() -> NoReturn:
    """Run the spec in the named file. The exit status is only for torch's launcher: the events are the answer."""
    hold()
    spec = Spec.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if spec.parallelism and spec.device_count > 1 and "RANK" not in os.environ:
        from sizer.benchmark.launch import launch

        try:
            sys.exit(launch(spec))
        except ModuleNotFoundError as error:
            _fail(Events(), error)
    events = Events()
    try:
        outcome = run(spec, events.stage, events.keep)
    except BaseException as error:
        _fail(events, error)
    if is_first_rank():
        events.send(result=outcome.to_dict())
    # No tidy shutdown: a destructor of a native library that crashes now must not spoil a result that is out.
    sys.stderr.flush()
    os._exit(0)


def _fail(events: Events, error: BaseException) -> NoReturn:
    """Tell the parent what went wrong, in one line, and all of it to stderr."""
    named = name_error(error, events.last_stage)
    if not isinstance(error, SizerError):
        import traceback

        traceback.print_exception(error)
    events.send(error={"type": _public_type(named), "message": named.message, "hint": named.hint})
    sys.exit(1)


def run(spec: Spec, stage: Stage, keep: Callable[[Outcome], None] = lambda _outcome: None) -> Outcome:
    """Run one spec with its backend, in this process; of cells, `keep` is told each as it is measured."""
    from importlib import import_module

    backend = import_module(BACKENDS[spec.backend].module)
    outcome: Outcome = backend.run_cells(spec, stage, keep) if spec.cells else backend.run(spec, stage)
    return outcome


def name_error(error: BaseException, stage: str) -> SizerError:
    """Any error as one of ours, in one line."""
    if isinstance(error, SizerError):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or is_memory_talk(text):
        return out_of_memory(stage)
    if is_disk_talk(text):
        return disk_full(stage)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        wanted = "'sizer-llm[bench]'" if package in EXTRA else package
        return BenchmarkFailed(f"{package!r} is not installed.", f"Install it with: pip install {wanted}")
    first_line = next((line.strip() for line in text.splitlines() if line.strip()), text)
    return BenchmarkFailed(f"The benchmark failed while {stage}: {first_line[:400]}.", _hint(error))


def _hint(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return "The precision needs a package that is not installed."
    return "'sizer --debug bench ...' shows all that it wrote."


def _public_type(error: SizerError) -> str:
    for kind in (DoesNotFit, ModelError, UsageError):
        if isinstance(error, kind):
            return kind.__name__
    return BenchmarkFailed.__name__


if __name__ == "__main__":
    main()
