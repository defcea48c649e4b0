"""Watches NVIDIA GPUs while a benchmark runs: other processes on them, clocks held down by heat or power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sizer.benchmark.records import Caution
from sizer.benchmark.run_warnings import Warn

MAX_HELD_DOWN_SHARE = 0.02
"""Share of the time that the driver may hold the clocks down before a figure is no longer the card's own."""

HeldDown = Mapping[str, int]


def held_down_ns(uuids: Sequence[str]) -> HeldDown:
    """Nanoseconds since boot that the driver held each GPU's clocks down; GPUs that do not tell are left out."""
    told = {}
    for uuid, pynvml, handle in _handles(uuids):
        policies = (pynvml.NVML_PERF_POLICY_THERMAL, pynvml.NVML_PERF_POLICY_POWER)
        try:
            told[uuid] = sum(pynvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime for policy in policies)
        except pynvml.NVMLError:  # consumer cards do not count it
            continue
    return told


def judge_gpus(uuids: Sequence[str], before: HeldDown, elapsed_s: float) -> list[Caution]:
    """What the driver says of the GPUs after a run: foreign processes, and clocks held down since `before`."""
    found = []
    for uuid, pynvml, handle in _handles(uuids):
        try:
            pids = [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        except pynvml.NVMLError:
            pids = []
        if foreign := [pid for pid in pids if not _is_ours(pid)]:
            found.append(Warn.OTHER_PROCESS.caution(f"{uuid} also runs process {foreign[0]}."))
    for uuid, after_ns in held_down_ns(uuids).items():
        share = (after_ns - before.get(uuid, after_ns)) / 1e9 / max(elapsed_s, 1e-9)
        if share > MAX_HELD_DOWN_SHARE:
            found.append(Warn.THROTTLED.caution(f"heat or power held the clocks of {uuid} down for {share:.0%}."))
    return found


def _handles(uuids: Sequence[str]) -> list[tuple[str, Any, Any]]:
    """The driver's handle of each GPU; nothing without a driver. UUIDs, because CUDA may number the GPUs otherwise."""
    from sizer.device.edge import load_nvml

    pynvml = load_nvml() if uuids else None
    found: list[tuple[str, Any, Any]] = []
    for uuid in uuids if pynvml else ():
        handle = _handle(pynvml, uuid)
        if handle is not None:
            found.append((uuid, pynvml, handle))
    return found


def _handle(pynvml: Any, uuid: str) -> Any:
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:
        return None


def used_bytes(uuids: Sequence[str]) -> int:
    """Memory in use on the GPUs by the driver's counter, all processes together; 0 where it does not tell."""
    return sum(_used(pynvml, handle) for _, pynvml, handle in _handles(uuids))


def _used(pynvml: Any, handle: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    except pynvml.NVMLError:
        return 0


def _is_ours(pid: int) -> bool:
    """Whether a process belongs to this benchmark: itself, a child of it, or a rank of the same launcher.

    By descent, because sessions and groups tell nothing inside a container, where everything shares init's.
    """
    import psutil

    us = psutil.Process()
    try:
        parents = [process.pid for process in psutil.Process(pid).parents()]
    except psutil.NoSuchProcess:
        return True  # gone, or of another PID namespace: a container sees itself so
    except psutil.AccessDenied:
        return False
    launcher = us.ppid()
    return pid == us.pid or us.pid in parents or (launcher > 1 and launcher in parents)
