"""Says in one line what a worker died of."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from sizer.errors import BenchmarkFailed

LESS_MEMORY = "Use a smaller --precision, --prompt or --batch, or free memory."
_MEMORY_TALK = re.compile(
    r"MemoryError|bad_alloc|out of memory|[Cc]annot allocate memory|not enough memory|can't allocate memory"
    r"|failed to map segment|[Mm]emory allocation"
    r"|can't start new thread|pthread_create failed|OutOfMemory|Resource temporarily unavailable",
)
_DISK_TALK = re.compile(r"No space left on device|Disk quota exceeded|\[Errno 28\]|\[Errno 122\]")


# How Windows ends a process that fails, by its status: ntstatus.h, as Microsoft's [MS-ERREF] lists it.
WINDOWS_CRASHES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL is missing",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun",
}
WINDOWS_OUT_OF_MEMORY = frozenset({0xC0000017, 0xC000012D})  # no memory; commitment limit reached


def is_memory_talk(text: str) -> bool:
    """Whether an error's text says that memory could not be had."""
    return _MEMORY_TALK.search(text) is not None


def is_disk_talk(text: str) -> bool:
    """Whether an error's text says that the disk is full."""
    return _DISK_TALK.search(text) is not None


def out_of_memory(stage: str) -> BenchmarkFailed:
    """The error for memory that could not be had."""
    return BenchmarkFailed(f"The benchmark ran out of memory while {stage}.", LESS_MEMORY)


def disk_full(stage: str) -> BenchmarkFailed:
    """The error for a full disk."""
    return BenchmarkFailed(f"The disk is full (while {stage}).", "Free space, or point TMPDIR or HF_HOME elsewhere.")


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot (Linux; 0 where it does not tell)."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match.group(1)) if match else 0


def describe_death(returncode: int | None, stage: str, oom_killed: bool, stderr: Sequence[str]) -> BenchmarkFailed:
    """One line for a worker that ended without a result; `stderr` is the last of what it wrote."""
    talk = "\n".join(stderr)
    last = next((line.strip() for line in reversed(stderr) if line.strip()), "")
    if is_disk_talk(talk):
        return disk_full(stage)
    if returncode is not None and returncode < 0:
        return _killed(-returncode, stage, oom_killed, talk)
    if is_memory_talk(talk) or returncode in WINDOWS_OUT_OF_MEMORY:
        return out_of_memory(stage)
    if returncode in WINDOWS_CRASHES:
        return _crashed(WINDOWS_CRASHES[returncode], stage)
    said = f": {last[:300]}" if last else ""
    return BenchmarkFailed(
        f"The benchmark process ended with status {returncode} while {stage}{said}.",
        "'sizer --debug bench ...' shows all that it wrote.",
    )


def _killed(number: int, stage: str, oom_killed: bool, talk: str) -> BenchmarkFailed:
    name = signal.Signals(number).name if number in {item.value for item in signal.Signals} else f"signal {number}"
    if name == "SIGKILL" and oom_killed:
        return BenchmarkFailed(f"The kernel killed the benchmark for want of memory while {stage}.", LESS_MEMORY)
    if is_memory_talk(talk):
        return out_of_memory(stage)
    if name == "SIGKILL":
        return BenchmarkFailed(
            f"The benchmark process was killed ({name}) while {stage}.",
            f"Someone stopped it, or its memory limit did: {LESS_MEMORY[0].lower()}{LESS_MEMORY[1:]}",
        )
    return _crashed(name, stage)


def _crashed(how: str, stage: str) -> BenchmarkFailed:
    return BenchmarkFailed(
        f"The benchmark process crashed ({how}) while {stage}.",
        "The fault is in the engine or its driver: update it, or try another --precision or --device cpu.",
    )
