"""Ties a child process to its parent: when the parent goes, whatever way, the child and all it started go too."""

from __future__ import annotations

import os
import sys
import threading

from sizer.benchmark.processes import KILL, end_own_group

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def hold(descriptor: int = 0) -> None:
    """Die when the parent dies: by the kernel's word (Linux), and when the pipe on `descriptor` is closed.

    Nothing is ever written into that pipe: its end is the message. The kernel's signal covers a child whose
    interpreter is stuck, the pipe covers other systems and grandchildren, which inherit it.
    """
    _die_with_parent()
    threading.Thread(target=_wait_for_end, args=(descriptor,), daemon=True, name="lifeline").start()
    _offer_to_the_oom_killer()


def _wait_for_end(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    finally:
        end_own_group()


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, KILL)
        if os.getppid() != parent:  # it died before the kernel was told
            end_own_group()


def _offer_to_the_oom_killer() -> None:
    """Ask Linux to take this process before its parent, which has the results to report; elsewhere nothing happens."""
    from pathlib import Path

    try:
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    except OSError:
        return
