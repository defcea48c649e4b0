"""What a call costs, counted: the same on a busy machine as on an idle one, which seconds are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, are called while `work` runs."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


RUNAWAY_S = 30.0
"""Processor seconds that nothing comes near whose work grows as its input does; what squares or doubles takes more."""
