"""The one folder that a benchmark may write temporary files into, and its removal, also after a crash."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sizer.errors import BenchmarkFailed

PREFIX = "sizer-bench-"
LOCK = "in-use"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, removed at the end with all in it. Folders of killed runs, whose lock is free, go first."""
    from filelock import FileLock

    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise BenchmarkFailed(
            f"No temporary folder can be made in {str(parent)!r} ({error.strerror}).",
            "Free space, or point TMPDIR elsewhere.",
        ) from error
    try:
        with FileLock(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether the run that made a folder is gone: its lock is there, and nobody holds it."""
    from filelock import FileLock, Timeout

    lock = folder / LOCK
    try:
        if lock.is_file():
            with FileLock(lock, timeout=0):
                return True
    except (OSError, Timeout):
        return False
    return False
