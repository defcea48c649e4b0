"""A team of threads, each pinned to a CPU of its own, that do one piece of work together."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection

# A pass takes far less; a team that does not meet in this time has been interrupted.
LONGEST_WAIT_S = 60.0

Work = Callable[[int, int], object]


class Team:
    """`size` threads, the caller among them. `run(work)` calls `work(rank, size)` in each and waits for all.

    Threads are pinned where the system lets a thread choose (Linux), spread evenly over the CPUs that this process may
    use, or over those `among` them; the caller's own affinity is put back by `close`. Elsewhere (macOS, Windows) the
    system places them.
    """

    def __init__(self, size: int, among: Collection[int] = ()) -> None:
        self.size = size
        self._work: Work | None = None
        self._errors: list[BaseException] = []
        self._start = threading.Barrier(size)
        self._finish = threading.Barrier(size)
        self._own = _affinity()
        self._cpus = sorted(self._own.intersection(among) or self._own)
        self._threads = [threading.Thread(target=self._serve, args=(rank,), daemon=True) for rank in range(1, size)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Work) -> None:
        """Do `work` once in every thread; raises what any of them raised."""
        self._work = work
        self._pin(0)
        self._start.wait()
        self._do(0)
        self._finish.wait()
        if self._errors:
            raise self._errors.pop()

    def close(self) -> None:
        """End the threads and let the caller's thread run anywhere again."""
        self._work = None
        with contextlib.suppress(threading.BrokenBarrierError):  # an interrupt left the team out of step
            self._start.wait(LONGEST_WAIT_S)
        self._finish.abort()
        for thread in self._threads:
            thread.join(LONGEST_WAIT_S)
        _settle(0, self._own)

    def _serve(self, rank: int) -> None:
        self._pin(rank)
        with contextlib.suppress(threading.BrokenBarrierError):
            while True:
                self._start.wait()
                if self._work is None:
                    return
                self._do(rank)
                self._finish.wait()

    def _do(self, rank: int) -> None:
        try:
            if self._work is not None:
                self._work(rank, self.size)
        except BaseException as error:
            self._errors.append(error)

    def _pin(self, rank: int) -> None:
        cpus = self._cpus
        if cpus:
            cpu = cpus[rank * len(cpus) // self.size] if self.size <= len(cpus) else cpus[rank % len(cpus)]
            _settle(threading.get_native_id(), {cpu})


def _settle(thread: int, cpus: set[int]) -> None:
    """Let a thread (0: the caller) run on these CPUs alone; without any, or where there is no such call, anywhere."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(thread, cpus)


def _affinity() -> set[int]:
    """CPUs that this process may use, empty where the system does not tell."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()
