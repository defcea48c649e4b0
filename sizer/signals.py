"""Signals that go elsewhere for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def handled(handler: Handler, numbers: Iterable[int] = (signal.SIGINT,)) -> Iterator[None]:
    """Meanwhile the signals go to `handler`; in another thread than the main one they stay the caller's."""
    previous = {}
    try:
        for number in numbers:
            previous[number] = signal.signal(number, handler)
    except ValueError:
        pass  # not the main thread
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
