"""Measured bandwidth of GPUs, and FLOP rates of GPUs and CPU, by torch (a CPU's also by numpy)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sizer.device.machine import Machine
from sizer.frozen import dataclass
from sizer.units import GIB, MIB

# Past the last cache of any GPU (H100 50 MiB, MI300X 256 MiB), within an eighth of its memory.
GPU_ARRAY_BYTES = 2 * GIB
GPU_ARRAY_SHARE = 1 / 8
PASSES, LAUNCHES = 10, 10
# Large enough that a matrix product is bound by compute; a CPU needs less.
GPU_MATRIX, CPU_MATRIX = 8192, 2048


@dataclass(frozen=True, slots=True)
class GpuRate:
    """The best rate of one GPU's memory: bytes read and written."""

    name: str
    kernel: str
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class FlopRate:
    """The best rate of a square matrix product: two operations per multiply-add."""

    name: str
    number_format: str
    flops_per_s: float


def bandwidths(machine: Machine) -> tuple[tuple[GpuRate, ...], tuple[str, ...]]:
    """Every GPU's memory bandwidth, and a note where torch is missing or sees none. torch is loaded only for a GPU."""
    if not machine.gpus:
        return (), ()
    torch = _torch()
    if torch is None:
        return (), ("a GPU is here, but torch is not installed to measure it: pip install 'sizer-llm[bench]'",)
    places = accelerators(torch)
    if not places:
        return (), ("a GPU is here, but this build of torch does not use it: its bandwidth is not measured",)
    rates: list[GpuRate] = []
    notes: list[str] = []
    for place in places:
        found, fault = _tried(torch, place, machine)
        rates.extend(found)
        notes.extend([fault] if fault else [])
    return tuple(rates), tuple(notes)


def _tried(torch: Any, place: str, machine: Machine) -> tuple[tuple[GpuRate, ...], str]:
    """One accelerator's rates, or why there are none: no memory is left on it, or its driver refuses."""
    try:
        return _gpu_bandwidth(torch, place, machine), ""
    except RuntimeError as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        return (), f"{_name(torch, place, machine)} could not be measured: {first_line[:200]}"


def accelerators(torch: Any) -> tuple[str, ...]:
    """torch's names of the accelerators that it can use: `cuda` is NVIDIA's and, in builds for ROCm, AMD's."""
    found: list[str] = []
    for kind in ("cuda", "xpu"):
        library = getattr(torch, kind, None)
        if library is not None and library.is_available():
            found.extend(f"{kind}:{number}" for number in range(library.device_count()))
    backends = getattr(torch, "backends", None)
    if not found and backends is not None and hasattr(backends, "mps") and backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def _torch() -> Any | None:
    try:
        import torch
    except ImportError:
        return None
    return torch


def _array_bytes(torch: Any, place: str, machine: Machine) -> int:
    """Bytes of each of three arrays: no more than an eighth of what is free, as its runtime or the system tells."""
    kind = place.partition(":")[0]
    try:
        free = torch.mps.recommended_max_memory() if kind == "mps" else getattr(torch, kind).mem_get_info(place)[0]
    except (AttributeError, RuntimeError):  # an older torch, or a driver that does not tell
        free = machine.available_bytes or machine.memory_bytes or GPU_ARRAY_BYTES
    return min(GPU_ARRAY_BYTES, int(free * GPU_ARRAY_SHARE))


def _gpu_bandwidth(torch: Any, place: str, machine: Machine) -> tuple[GpuRate, ...]:
    size = _array_bytes(torch, place, machine)
    items = size // MIB * MIB // 4
    a, b, c = (torch.ones(items, dtype=torch.float32, device=place) for _ in range(3))
    name = _name(torch, place, machine)
    cases: tuple[tuple[str, int, Callable[[], object]], ...] = (
        ("triad", 3, lambda: torch.add(b, c, alpha=3.0, out=a)),
        ("copy", 2, lambda: c.copy_(a)),
    )
    return tuple(
        GpuRate(name, kernel, arrays * items * 4 / _best_s(torch, place, work)) for kernel, arrays, work in cases
    )


def _name(torch: Any, place: str, machine: Machine) -> str:
    kind = place.partition(":")[0]
    if kind == "mps":
        return machine.gpus[0].name if machine.gpus else place
    return str(getattr(torch, kind).get_device_name(place))


def _best_s(torch: Any, place: str, work: Callable[[], object]) -> float:
    """Seconds of one call: the best of several runs of several launches, waited for on both sides."""
    wait = _waiter(torch, place)
    best = float("inf")
    for number in range(PASSES + 1):
        wait()
        started = time.perf_counter()
        for _ in range(LAUNCHES):
            work()
        wait()
        if number:
            best = min(best, (time.perf_counter() - started) / LAUNCHES)
    return best


def _waiter(torch: Any, place: str) -> Callable[[], object]:
    kind = place.partition(":")[0]
    if kind == "cpu":
        return lambda: None
    if kind == "mps":
        return torch.mps.synchronize  # type: ignore[no-any-return]
    return lambda: getattr(torch, kind).synchronize(place)


def flop_rates(machine: Machine) -> tuple[tuple[FlopRate, ...], tuple[str, ...]]:
    """FLOP rates of the CPU and of every GPU by matrix products, and a note where nothing is installed to run them."""
    torch = _torch()
    if torch is not None:
        places = accelerators(torch) or ("cpu",)
        return tuple(rate for place in places for rate in _products(torch, place, machine)), ()
    try:
        import numpy as np
    except ImportError:
        return (), ("FLOP rates need numpy or torch: pip install 'sizer-llm[bench]'",)
    a: Any = np.ones((CPU_MATRIX, CPU_MATRIX), dtype=np.float32)
    taken_s = _shortest_s(lambda: a @ a)
    return (FlopRate(machine.cpu, "fp32", 2 * CPU_MATRIX**3 / taken_s),), ()


def _products(torch: Any, place: str, machine: Machine) -> tuple[FlopRate, ...]:
    on_cpu = place == "cpu"
    side = CPU_MATRIX if on_cpu else GPU_MATRIX
    name = machine.cpu if on_cpu else _name(torch, place, machine)
    rates = []
    for number_format, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        a = torch.ones((side, side), dtype=kind, device=place)
        wait = _waiter(torch, place)

        def product(a: Any = a, wait: Callable[[], object] = wait) -> None:
            torch.matmul(a, a)
            wait()

        rates.append(FlopRate(name, number_format, 2 * side**3 / _shortest_s(product)))
    return tuple(rates)


def _shortest_s(work: Callable[[], object], seconds: float = 1.0) -> float:
    """Seconds of the fastest call within about a second, the first thrown away."""
    work()
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline or best == float("inf"):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
