"""Work that is shared out over the processors, its answers in the order of what was asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

HAS_COPIES = sys.platform == "linux"
MOST_COPIES = 8
"""Each holds some memory of its own."""
_work: dict[str, Callable[[Any], Any]] = {}
"""What workers do: they are copies of this process, so that nothing is sent to them but the item."""


def in_order(work: Callable[[Item], Answer], items: Sequence[Item], most: int | None = None) -> Iterator[Answer]:
    """The answer to each item, by as many copies of this process as there are processors, at most `most`.

    One after the other where there is one processor or one item, or where a system has no such copies (Windows, and
    macOS, whose libraries do not bear them).
    """
    copies = min(os.cpu_count() or 1, MOST_COPIES) if HAS_COPIES else 1
    count = min(len(items), copies, most or copies)
    if count < 2:
        yield from map(work, items)
        return
    from multiprocessing import get_context

    _work["now"] = work
    try:
        with get_context("fork").Pool(count) as pool:
            yield from pool.imap(_answer, items)
    finally:
        del _work["now"]


def _answer(item: Any) -> Any:
    return _work["now"](item)
