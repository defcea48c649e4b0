"""A call that is waited for until a deadline: a peer that drips a byte a second holds nobody up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Answer = TypeVar("Answer")


class DeadlinePassed(Exception):
    """The call did not end in time. Not a TimeoutError, which the call itself may raise."""


def in_time(call: Callable[[], Answer], seconds: float) -> Answer:
    """The result of a call, in a thread that is not awaited longer; what it raises is raised here.

    Raises DeadlinePassed. A call that is given up goes on in its thread, which ends with the process: an executor's
    threads would hold the process up instead.
    """
    came: SimpleQueue[tuple[Answer | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        try:
            came.put((call(), None))
        except BaseException as error:
            came.put((None, error))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(max(0.0, seconds))
    if came.empty():
        raise DeadlinePassed
    answer, failed = came.get()
    if failed is not None:
        raise failed
    return answer  # type: ignore[return-value]
