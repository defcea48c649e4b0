"""Measured memory bandwidth, in the manner of STREAM (J. McCalpin, www.cs.virginia.edu/stream).

Bytes that the kernel reads and writes are counted, the cache's own extra read of written lines is not; arrays are at
least four times the last cache; the best of several passes counts and the first is thrown away. Deviations from STREAM:
`add` (a = b + c, the same traffic as its triad) stands for triad where no compiler is, and threads are swept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sizer.device import probe_gpu
from sizer.device.bandwidth_loops import Kernel, Memory, make_memory
from sizer.device.machine import Machine
from sizer.device.pinned_threads import Team
from sizer.frozen import NamedTuple, dataclass
from sizer.units import GIB, MIB

# STREAM's run rules: each array at least four times the last cache, and the best of at least ten passes.
CACHE_TIMES = 4
SMALLEST_ARRAY_BYTES, LARGEST_ARRAY_BYTES = 64 * MIB, 2 * GIB
FEWEST_PASSES = 10
# Three arrays may take this share of the free memory.
MEMORY_SHARE = 0.5
# A machine this busy before the measurement (load over cores) is measured too low.
BUSY_LOAD = 0.3


# Under load clocks rise for up to a second (power-saving laptops): what is measured before is not the machine.
WARM_UP_S = 1.0
ALL_CORES, FAST_CORES = "all", "fast"
"""Where threads were placed: over all CPUs, or over the fast ones of a processor that has two kinds."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The best pass of one kernel at one number of threads on one set of cores."""

    kernel: str
    backend: str
    threads: int
    bytes_per_s: float
    cores: str = ALL_CORES


@dataclass(frozen=True, slots=True)
class Probe:
    """A machine, measured. `bytes_per_s` is the best sustained rate of the CPUs' memory, over all threads tried."""

    machine: Machine
    bytes_per_s: float
    rates: tuple[Rate, ...]
    array_bytes: int
    measured_at_s: float
    gpus: tuple[probe_gpu.GpuRate, ...] = ()
    flops: tuple[probe_gpu.FlopRate, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The probe as it is stored and printed as JSON."""
        return {
            "memory_bandwidth_bytes_per_s": self.bytes_per_s,
            "kernels": [asdict(rate) for rate in self.rates],
            "threads_tried": sorted({rate.threads for rate in self.rates}),
            "array_bytes": self.array_bytes,
            "gpu_memory_bandwidth": [asdict(rate) for rate in self.gpus],
            "flops": [asdict(rate) for rate in self.flops],
            "measured_at_s": self.measured_at_s,
            "notes": list(self.notes),
        }


def run(machine: Machine, flops: bool = False, seconds: float = 4.0, backend: str = "") -> Probe:
    """Measure for about `seconds`, at least ten passes each; `backend` is numpy, torch or memcpy, else what is here.

    Raises BenchmarkFailed where not even small arrays fit in memory.
    """
    notes = list(_busy(machine))
    array_bytes, note = array_size(machine)
    notes.extend([note] if note else [])
    rates = sweep(array_bytes, placements(machine), seconds, backend)
    gpus, gpu_notes = probe_gpu.bandwidths(machine)
    flop_rates, flop_notes = probe_gpu.flop_rates(machine) if flops else ((), ())
    return Probe(
        machine=machine,
        bytes_per_s=headline(rates).bytes_per_s,
        rates=rates,
        array_bytes=array_bytes,
        measured_at_s=time.time(),
        gpus=gpus,
        flops=flop_rates,
        notes=(*notes, *gpu_notes, *flop_notes),
    )


def headline(rates: tuple[Rate, ...]) -> Rate:
    """The rate that counts: the best of the kernels that store as STREAM's triad does, else the best copy.

    Copies may bypass the cache and so skip the read that a store costs: their rate is shown beside, not mixed in.
    """
    comparable = [rate for rate in rates if rate.kernel != "copy"] or list(rates)
    return max(comparable, key=lambda rate: rate.bytes_per_s)


def array_size(machine: Machine) -> tuple[int, str]:
    """Bytes of each of three arrays, and a note where memory is too short to go far beyond the caches."""
    wanted = max(SMALLEST_ARRAY_BYTES, CACHE_TIMES * (machine.cache_bytes or 0))
    size = min(wanted, LARGEST_ARRAY_BYTES)
    if machine.available_bytes is not None:
        size = min(size, int(machine.available_bytes * MEMORY_SHARE / 3))
    size = max(size // MIB, 1) * MIB
    if size < wanted:
        return (
            size,
            f"arrays of {size // MIB} MiB are less than {CACHE_TIMES} times the last cache: the rate may be too high",
        )
    return size, ""


def thread_counts(machine: Machine) -> tuple[int, ...]:
    """1, 2, 4 … and all usable cores: physical ones first, then with their second threads."""
    usable = max(1, int(machine.usable_cores or machine.threads or os.cpu_count() or 1))
    counts = {1, usable, min(usable, machine.cores or usable)}
    counts.update(2**power for power in range(1, usable.bit_length()) if 2**power <= usable)
    return tuple(sorted(counts))


class Placement(NamedTuple):
    """How many threads, and on which CPUs: none named are all."""

    threads: int
    cores: str = ALL_CORES
    cpus: tuple[int, ...] = ()


def placements(machine: Machine) -> tuple[Placement, ...]:
    """Every number of threads on all cores; and on the fast ones alone where there are two kinds and threads can be
    pinned: which set reaches most is found, not assumed."""
    counts = thread_counts(machine)
    fast = machine.fast_cores or 0
    everywhere = {*counts, *([fast] if 0 < fast <= counts[-1] else [])}
    found = [Placement(count) for count in sorted(everywhere)]
    if machine.fast_cpus and hasattr(os, "sched_setaffinity"):
        some = {fast, len(machine.fast_cpus), *(count for count in counts if count <= fast)}
        found += [Placement(count, FAST_CORES, machine.fast_cpus) for count in sorted(some) if 0 < count <= counts[-1]]
    return tuple(found)


def sweep(array_bytes: int, places: tuple[Placement, ...], seconds: float, backend: str = "") -> tuple[Rate, ...]:
    """Best rate of every kernel at every placement. Rounds go over all of them in turn, so that a disturbance of a
    second or two does not fall on one alone; before them the widest team works until the clocks have risen."""
    memory = make_memory(array_bytes, backend)
    best: dict[tuple[str, int, str], float] = {}
    teams = [Team(place.threads, place.cpus) for place in places]
    try:
        for team in teams:
            team.run(memory.touch)
        _warm_up(max(teams, key=lambda team: team.size), memory, min(WARM_UP_S, seconds))
        deadline = time.perf_counter() + seconds
        for number in _rounds(deadline):
            for place, team in zip(places, teams, strict=True):
                for kernel in memory.kernels:
                    taken_s = _timed(team, memory, kernel)
                    if number:  # the first pass warms up
                        case = (place.cores, place.threads, kernel.name)
                        best[case] = max(best.get(case, 0.0), kernel.arrays_moved * array_bytes / taken_s)
    finally:
        for team in teams:
            team.close()
        memory.close()
    return tuple(
        Rate(name, memory.backend, threads, rate, cores) for (cores, threads, name), rate in sorted(best.items())
    )


def _warm_up(team: Team, memory: Memory, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for kernel in memory.kernels:
            _timed(team, memory, kernel)


def _rounds(deadline: float) -> Iterator[int]:
    number = 0
    while number <= FEWEST_PASSES or time.perf_counter() < deadline:
        yield number
        number += 1


def _timed(team: Team, memory: Memory, kernel: Kernel) -> float:
    started = time.perf_counter()
    team.run(lambda rank, size: kernel.work(*memory.share(rank, size)))
    return time.perf_counter() - started


def _load() -> float:
    """Programs that want to run, on average over the last minute; Windows counts none, psutil imitates it there."""
    if hasattr(os, "getloadavg"):
        return float(os.getloadavg()[0])
    import psutil

    return float(psutil.getloadavg()[0])


def _busy(machine: Machine) -> Iterator[str]:
    cores = machine.usable_cores or machine.threads or 1
    load = _load()
    if load > BUSY_LOAD * cores:
        yield f"other programs are running (load {load:.1f} on {cores:g} cores): an idle machine may reach more"
    if machine.low_power:
        yield "the machine is in its low-power mode: it reaches more without"
    if machine.memory_only_nodes_bytes:
        size = sum(machine.memory_only_nodes_bytes) / GIB
        yield f"{size:.4g} GiB of the memory belong to no CPU (HBM, CXL or a GPU's): the rate is that of the CPUs' own"


def measure_once(machine: Machine, seconds: float = 1.5) -> bool:
    """Measure and store this machine's bandwidth if nothing is stored yet; False where it could not be stored.

    An estimate for a CPU that no table describes needs it: a specification is that of a whole socket, of which a
    virtual machine or a container has a share.
    """
    from sizer.device import measured

    if measured.load(machine).measurement is not None:
        return True
    try:
        measured.save(machine, run(machine, seconds=seconds).document())
    except OSError:
        return False
    return True
