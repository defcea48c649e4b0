"""Memory kernels over three large arrays: by numpy, by torch, or by plain memcpy where neither is installed."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Callable, Iterable
from typing import Any

from sizer.errors import BenchmarkFailed, UsageError
from sizer.frozen import dataclass

ITEM_BYTES = 8
"""STREAM's kernels work on doubles."""
# Shares begin on pages, so that no two threads write to one.
PAGE_ITEMS = 4096 // ITEM_BYTES
BLOCK_BYTES = 256 * 1024
"""What one call of the C library copies."""
BACKENDS = ("numpy", "torch", "memcpy")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: `work(start, stop)` in items, and how many arrays a whole pass reads and writes."""

    name: str
    arrays_moved: int
    work: Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Memory:
    """Three arrays, untouched until `touch` (so that each thread's pages lie near it), and the kernels over them."""

    backend: str
    items: int
    kernels: tuple[Kernel, ...]
    fill: Callable[[int, int], object]
    close: Callable[[], object]

    def share(self, rank: int, size: int) -> tuple[int, int]:
        """The items of one thread of `size`."""
        pages = self.items // PAGE_ITEMS
        start, stop = rank * pages // size, (rank + 1) * pages // size
        return start * PAGE_ITEMS, self.items if rank == size - 1 else stop * PAGE_ITEMS

    def touch(self, rank: int, size: int) -> None:
        """Write this thread's share of all arrays for the first time."""
        self.fill(*self.share(rank, size))


def make_memory(array_bytes: int, backend: str = "") -> Memory:
    """Arrays of `array_bytes` each with the first backend that is installed, or with the one asked for.

    Raises UsageError for an unknown or missing backend, BenchmarkFailed where memory is short.
    """
    makers = {"numpy": _numpy, "torch": _torch, "memcpy": _memcpy}
    if backend and backend not in makers:
        raise UsageError(f"unknown probe backend {backend!r}.", f"Choose one of {', '.join(BACKENDS)}.")
    try:
        for name in (backend,) if backend else BACKENDS:
            with contextlib.suppress(ImportError):
                return makers[name](array_bytes // ITEM_BYTES)
    except (MemoryError, OSError, RuntimeError) as error:
        wanted = f"three arrays of {array_bytes} bytes"
        raise BenchmarkFailed(f"no memory for {wanted}: {error}.", "Free memory and try again.") from None
    raise UsageError(f"{backend!r} is not installed.", "'pip install sizer-llm[bench]' installs numpy and torch.")


def _numpy(items: int) -> Memory:
    import numpy as np

    arrays: list[Any] = [np.empty(items, dtype=np.float64) for _ in range(3)]
    a, b, c = arrays

    def fill(start: int, stop: int) -> None:
        for number, array in enumerate((a, b, c), 1):
            array[start:stop] = number

    # Each is one pass without temporaries; numpy lets go of the interpreter lock in it.
    kernels = (
        Kernel("add", 3, lambda start, stop: np.add(b[start:stop], c[start:stop], out=a[start:stop])),
        Kernel("copy", 2, lambda start, stop: np.copyto(c[start:stop], a[start:stop])),
    )
    return Memory("numpy", items, kernels, fill, lambda: None)


def _torch(items: int) -> Memory:
    """The loops by torch, where numpy is not installed."""
    import torch

    # One thread each: the team's threads are the parallelism.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b, c = (torch.empty(items, dtype=torch.float64) for _ in range(3))

    def fill(start: int, stop: int) -> None:
        for number, array in enumerate((a, b, c), 1):
            array[start:stop] = number

    def add(start: int, stop: int) -> None:
        torch.add(b[start:stop], c[start:stop], alpha=3.0, out=a[start:stop])

    kernels = (
        Kernel("triad", 3, add),
        Kernel("copy", 2, lambda start, stop: c[start:stop].copy_(a[start:stop])),
    )
    return Memory("torch", items, kernels, fill, lambda: torch.set_num_threads(before))


def _memcpy(items: int) -> Memory:
    """Two arrays and the C library's memmove, which ctypes calls without the interpreter lock."""
    buffers = [mmap.mmap(-1, items * ITEM_BYTES) for _ in range(2)]
    views: list[Any] = [(ctypes.c_char * (items * ITEM_BYTES)).from_buffer(buffer) for buffer in buffers]
    target, source = (ctypes.addressof(view) for view in views)

    def fill(start: int, stop: int) -> None:
        for number, address in enumerate((target, source), 1):
            ctypes.memset(address + start * ITEM_BYTES, number, (stop - start) * ITEM_BYTES)

    def copy(start: int, stop: int) -> None:
        # By blocks: in one large call the C library stores past the cache and skips the read that STREAM's stores cost.
        for block in range(start * ITEM_BYTES, stop * ITEM_BYTES, BLOCK_BYTES):
            ctypes.memmove(target + block, source + block, min(BLOCK_BYTES, stop * ITEM_BYTES - block))

    def close() -> None:
        _release(views, buffers)

    return Memory("memcpy", items, (Kernel("copy", 2, copy),), fill, close)


def _release(views: list[Any], buffers: Iterable[mmap.mmap]) -> None:
    views.clear()
    for buffer in buffers:
        buffer.close()
