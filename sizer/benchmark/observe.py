"""Watches the machine while a benchmark runs: foreign work, swapping, throttling, quotas; and the memory's peak."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

from sizer.benchmark.records import Caution
from sizer.benchmark.run_warnings import MAX_FOREIGN_CPU_SHARE, Warn
from sizer.frozen import dataclass

PAGE_BYTES = 4096
"""Swap is told in bytes and counted in pages: those of x86-64, and of most Arm systems."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of the machine at one moment; all only ever grow."""

    busy_s: float
    own_s: float
    wall_s: float
    swapped_pages: int
    throttled: int
    quota_waits: int


def snapshot() -> Snapshot:
    """The machine's counters now."""
    import time

    import psutil

    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # Guest time is counted within user time already.
    counted = [value for name, value in times._asdict().items() if not name.startswith("guest")]
    return Snapshot(
        busy_s=sum(counted) - idle_s,
        own_s=_own_cpu_s(),
        wall_s=time.perf_counter(),
        swapped_pages=_swapped_pages(),
        throttled=_throttle_count(),
        quota_waits=_counters(_cgroup_file("cpu.stat"), "nr_throttled"),
    )


def _own_cpu_s() -> float:
    """Processor time of this benchmark: this process and its finished children, or all ranks of its launcher."""
    import psutil

    if "RANK" not in os.environ:
        own = os.times()
        return own.user + own.system + own.children_user + own.children_system
    total_s = 0.0
    for process in psutil.Process(os.getppid()).children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total_s += times.user + times.system
    return total_s


def judge_machine(before: Snapshot, after: Snapshot) -> list[Caution]:
    """What happened on the machine between two snapshots that spoils the timings between them."""
    found = []
    cores = os.cpu_count() or 1
    elapsed_s = max(after.wall_s - before.wall_s, 1e-9)
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    share = foreign_s / (elapsed_s * cores)
    if share > MAX_FOREIGN_CPU_SHARE:
        found.append(Warn.OTHER_PROCESS.caution(f"other programs took {share:.0%} of the processor meanwhile."))
    if after.swapped_pages > before.swapped_pages:
        found.append(Warn.SWAPPING.caution(f"{after.swapped_pages - before.swapped_pages} pages were swapped."))
    if after.throttled > before.throttled:
        found.append(Warn.THROTTLED.caution("the processor reported thermal throttling."))
    if after.quota_waits > before.quota_waits:
        found.append(Warn.CPU_QUOTA.caution("the container was paused by its CPU quota."))
    if _on_battery():
        found.append(Warn.ON_BATTERY.caution("the machine runs on battery."))
    return found


def physical_cores() -> int:
    """Cores that this process may use, two threads of one core counted once: what engines take without --threads."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def process_peak_bytes() -> int | None:
    """The largest resident set of this process so far: VmHWM, else ru_maxrss (which older kernels carry over exec)."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    if match:
        return int(match.group(1)) * 1024
    return resource_peak_bytes()


def resource_peak_bytes(children: bool = False) -> int | None:
    """The largest resident set of this process, or of its largest finished child where the system keeps it."""
    if sys.platform != "win32":
        with contextlib.suppress(ImportError):
            import resource

            usage = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
            return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None if children else _largest_working_set()


def _largest_working_set() -> int | None:
    """Windows' counter of the same; nobody keeps it of children that have ended."""
    import psutil

    peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
    return int(peak) if peak is not None else None


def _swapped_pages() -> int:
    """Pages swapped in and out since boot; 0 where the system does not tell (Windows)."""
    if Path("/proc/vmstat").exists():
        return _counters("/proc/vmstat", "pswpin", "pswpout")
    import psutil

    swap = psutil.swap_memory()
    return (swap.sin + swap.sout) // PAGE_BYTES


def _counters(path: str, *names: str) -> int:
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError:
        return 0
    return sum(int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE) if name in names)


def _cgroup_file(name: str) -> str:
    """This process's own cgroup file (version 2), or the root's, which a container sees as its own."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    own = next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
    candidate = Path("/sys/fs/cgroup") / own / name
    return str(candidate if candidate.is_file() else Path("/sys/fs/cgroup") / name)


def _throttle_count() -> int:
    return sum(map(_number, Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")))


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _on_battery() -> bool:
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return battery is not None and battery.power_plugged is False
