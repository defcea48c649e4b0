"""Ends a process and all that it started, on every system: by its group, where there are groups, and by descent."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import psutil

# Windows has no SIGKILL; whatever is sent there ends the process at once.
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
# What a shell shows of a process that was killed: 128 and the signal's number.
STATUS_KILLED = 128 + 9


def end_tree(pid: int) -> None:
    """Kill a process, its group if it leads one, and its descendants. One that is gone already is no error."""
    descendants = _descendants(pid)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, KILL)
    _kill(descendants)


def end_own_group() -> NoReturn:
    """Kill this process with all that it started."""
    descendants = _descendants(os.getpid())
    if hasattr(os, "killpg"):
        os.killpg(0, KILL)  # 0 is the caller's own group
    _kill(descendants)
    os._exit(STATUS_KILLED)


def _descendants(pid: int) -> list[psutil.Process]:
    """The process, then its children and theirs; those that have been taken over by init are its group's matter."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _kill(processes: list[psutil.Process]) -> None:
    import psutil

    for process in processes:
        if process.pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                process.kill()
