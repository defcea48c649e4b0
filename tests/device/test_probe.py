"""The probe: kernels, teams and the cache of measurements."""

from __future__ import annotations

import builtins
import itertools
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from smallmachine import machine

from sizer.benchmark import runner
from sizer.benchmark.records import Spec
from sizer.cli.probe import command
from sizer.device import bandwidth_loops as kernels
from sizer.device import measured, probe
from sizer.device.bandwidth_loops import Kernel, Memory
from sizer.device.detect import this_target
from sizer.device.machine import Gpu
from sizer.device.pinned_threads import Team
from sizer.device.probe import Placement, Rate, array_size, headline, placements, sweep, thread_counts
from sizer.errors import BenchmarkFailed, UsageError
from sizer.units import GIB, MIB


def document(rate: float = 50e9) -> dict[str, Any]:
    """A stored probe."""
    return probe.Probe(machine(), rate, (Rate("add", "numpy", 2, rate),), 64 * MIB, time.time()).document()


@pytest.mark.parametrize("backend", ["numpy", "torch", "memcpy"])
def test_kernels_move_every_byte(backend: str) -> None:
    """Each thread's shares cover the arrays without a gap or an overlap, and every kernel runs over them."""
    if backend != "memcpy":
        pytest.importorskip(backend)
    memory = kernels.make_memory(5 * MIB + 24, backend)
    try:
        for size in (1, 2, 3, 7):
            shares = [memory.share(rank, size) for rank in range(size)]
            assert shares[0][0] == 0
            assert shares[-1][1] == memory.items
            assert all(left[1] == right[0] for left, right in itertools.pairwise(shares))
        memory.touch(0, 1)
        for kernel in memory.kernels:
            kernel.work(*memory.share(0, 1))
    finally:
        memory.close()


def test_numpy_add_adds() -> None:
    """The kernel that stands for triad really adds: what it writes is the sum of what was filled in."""
    np = pytest.importorskip("numpy")
    written: list[Any] = []
    real = np.add

    class Spy:
        """numpy with an `add` that keeps what it wrote."""

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        @staticmethod
        def add(left: Any, right: Any, out: Any) -> Any:
            written.append(real(left, right, out=out))
            return out

    before = sys.modules["numpy"]
    sys.modules["numpy"] = Spy()  # type: ignore[assignment]
    try:
        memory = kernels.make_memory(MIB, "numpy")
        memory.touch(0, 1)
        next(kernel for kernel in memory.kernels if kernel.name == "add").work(*memory.share(0, 1))
    finally:
        sys.modules["numpy"] = before
    assert written
    assert (written[0] == 2.0 + 3.0).all()
    assert len(written[0]) == MIB // 8


def test_without_numpy_and_torch_memcpy_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither installed, plain memcpy still gives a rate; asking for a missing one is an error."""
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name in {"numpy", "torch"}:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    rates = sweep(4 * MIB, (Placement(1), Placement(2)), seconds=0.0)
    assert {rate.backend for rate in rates} == {"memcpy"}
    assert headline(rates).bytes_per_s > 0
    with pytest.raises(UsageError, match="not installed"):
        kernels.make_memory(MIB, "numpy")
    with pytest.raises(UsageError, match="unknown probe backend"):
        kernels.make_memory(MIB, "cobol")


def test_short_memory_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that cannot be allocated end as BenchmarkFailed, not as a traceback."""

    def short(*_: object) -> None:
        raise MemoryError("no pages")

    monkeypatch.setattr(kernels.mmap, "mmap", short)
    with pytest.raises(BenchmarkFailed, match="no pages"):
        kernels.make_memory(MIB, "memcpy")


def test_team_works_pinned_and_is_put_back() -> None:
    """Every rank works once a run on its own CPU, errors come back, and the caller may run anywhere afterwards."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    team, ranks, cpus = Team(2), [], []

    def work(rank: int, size: int) -> None:
        ranks.append((rank, size))
        if before:
            cpus.append(len(os.sched_getaffinity(0)))

    def fail(rank: int, size: int) -> None:
        raise ValueError(rank)

    try:
        team.run(work)
        team.run(work)
        with pytest.raises(ValueError, match=r"0|1"):
            team.run(fail)
    finally:
        team.close()
    assert sorted(ranks) == [(0, 2), (0, 2), (1, 2), (1, 2)]
    if before:
        assert set(cpus) == {1}
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"usable_cores": 1.0}, (1,)),
        ({"usable_cores": 6.0, "cores": 3}, (1, 2, 3, 4, 6)),
        ({"usable_cores": 0.5}, (1,)),
        ({"usable_cores": 16.0, "cores": 8}, (1, 2, 4, 8, 16)),
    ],
)
def test_threads_are_swept_up_to_what_may_be_used(facts: dict[str, Any], expected: tuple[int, ...]) -> None:
    """One thread, powers of two, the physical cores and all that the quota leaves."""
    assert thread_counts(machine(**facts)) == expected


def test_fast_cores_are_tried_alone_and_with_the_others() -> None:
    """With two kinds of cores both sets are swept, where threads can be pinned: the figure is the better one's."""
    hybrid = machine(usable_cores=24.0, cores=16, fast_cores=8, fast_cpus=tuple(range(16)))
    tried = placements(hybrid)
    assert {place.threads for place in tried if place.cores == "all"} == {1, 2, 4, 8, 16, 24}
    if hasattr(os, "sched_setaffinity"):
        assert {place.threads for place in tried if place.cores == "fast"} == {1, 2, 4, 8, 16}
        assert all(place.cpus == tuple(range(16)) for place in tried if place.cores == "fast")
    by_count = placements(machine(usable_cores=10.0, cores=10, fast_cores=6))
    assert {place.threads for place in by_count} == {1, 2, 4, 6, 8, 10}


def test_best_threads_are_those_that_the_probe_found() -> None:
    """Of two kinds of cores the fewest threads within 3 % of the best rate; none of a damaged probe."""
    rates = [("add", 1, 20e9, "all"), ("add", 8, 79e9, "fast"), ("add", 24, 80e9, "all"), ("copy", 16, 70e9, "all")]
    kernels = [dict(zip(("kernel", "threads", "bytes_per_s", "cores"), rate, strict=True)) for rate in rates]
    assert measured.best_threads({"kernels": kernels}) == 8
    for damaged in ({}, {"kernels": None}, {"kernels": [None, {}, {"threads": "8", "bytes_per_s": 1e9}]}):
        assert measured.best_threads(damaged) is None


def test_bench_takes_the_threads_that_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hybrid processor that was probed a benchmark runs with them, unless another number was asked for."""
    hybrid = machine(fast_cores=8, cores=24, usable_cores=32.0)
    found = {**document(), "kernels": [{"kernel": "add", "threads": 8, "bytes_per_s": 80e9}]}
    measured.save(hybrid, found)
    spec = Spec("transformers", "m")
    monkeypatch.setattr("sizer.device.detect.detect", lambda: hybrid)
    assert runner.with_found_threads(spec).threads == 8
    assert runner.with_found_threads(replace(spec, threads=4)).threads == 4
    monkeypatch.setattr("sizer.device.detect.detect", machine)
    assert runner.with_found_threads(spec).threads is None


def test_slow_first_second_is_not_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that wakes up for a second is measured after it: no pass of that second counts, even the best."""
    clock = [0.0]
    speeds: list[tuple[float, float]] = []

    def timed(_team: Team, _memory: Memory, _kernel: Kernel) -> float:
        taken_s = 0.05 if clock[0] < 1.0 else 0.01
        speeds.append((clock[0], taken_s))
        clock[0] += taken_s
        return taken_s

    monkeypatch.setattr(probe, "_timed", timed)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock[0])
    rates = sweep(4 * MIB, (Placement(1),), seconds=1.0)
    assert all(rate.bytes_per_s == pytest.approx({"add": 3, "copy": 2}[rate.kernel] * 4 * MIB / 0.01) for rate in rates)
    assert sum(started < 1.0 for started, _ in speeds) == 20


def test_team_works_where_threads_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without affinity (macOS, Windows) every rank still works once a run."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    team, ranks = Team(3, among=(0, 1)), []
    try:
        team.run(lambda rank, size: ranks.append((rank, size)))
    finally:
        team.close()
    assert sorted(ranks) == [(0, 3), (1, 3), (2, 3)]
    assert all(
        place.cores == "all" for place in placements(machine(usable_cores=8.0, fast_cores=4, fast_cpus=(0, 1, 2, 3)))
    )


def test_arrays_exceed_the_caches_unless_memory_is_short() -> None:
    """Arrays are four times the last cache, at most a share of free memory, and a shortage is noted."""
    assert array_size(machine(cache_bytes=64 * MIB, available_bytes=8 * GIB)) == (256 * MIB, "")
    assert array_size(machine(cache_bytes=None, available_bytes=8 * GIB))[0] == 64 * MIB
    size, note = array_size(machine(cache_bytes=512 * MIB, available_bytes=600 * MIB))
    assert size == 100 * MIB
    assert "too high" in note


def test_headline_is_the_best_that_stores_as_triad_does() -> None:
    """A copy that bypasses the cache does not become the bandwidth; without any other kernel it must."""
    copy, add, slow = Rate("copy", "numpy", 2, 9e9), Rate("add", "numpy", 2, 7e9), Rate("add", "numpy", 1, 4e9)
    assert headline((copy, add, slow)) is add
    assert headline((copy,)) is copy


def test_measurement_is_kept_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored probe comes back with its age, and the CPU as a target takes its bandwidth and says so."""
    here = machine()
    assert measured.load(here) == measured.Cached()
    measured.save(here, document(50e9))
    kept = measured.load(here).measurement
    assert kept is not None
    assert (kept.bytes_per_s, kept.age) == (50e9, "just now")
    target = this_target(machine=here)
    assert (target.device.bandwidth_bytes_per_s, target.device.bandwidth_basis) == (50e9, "measured")
    assert any("measured here" in note for note in target.notes)
    measured.save(here, {**document(50e9), "notes": ["the machine was busy"]})
    assert any("the machine was busy" in note for note in this_target(machine=here).notes)
    monkeypatch.setattr(measured.time, "time", lambda: kept.measured_at_s + 3 * 86400 + 5)
    assert kept.age == "3 days ago"


def test_another_machine_does_not_take_it() -> None:
    """The fingerprint tells other cores, memory, CPUs and GPUs apart, but not a few MiB."""
    here = machine()
    measured.save(here, document())
    others = [
        machine(usable_cores=1.0),
        machine(memory_bytes=16 * GIB),
        machine(cpu="AMD EPYC 9554"),
        machine(gpus=(Gpu("NVIDIA L4", "nvidia"),)),
    ]
    assert all(measured.load(other).measurement is None for other in others)
    assert measured.load(machine(memory_bytes=8 * GIB - 5 * MIB)).measurement is not None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"schema_version": 99}', "\x00\xff", "[" * 100000]
    + [
        json.dumps({"schema_version": 1, "memory_bandwidth_bytes_per_s": rate, "measured_at_s": 1.0})
        for rate in (0, -1.0, "fast", None, True, float("nan"), float("inf"))
    ],
    ids=range(15),
)
def test_damaged_cache_is_left_aside(text: str) -> None:
    """A file that cannot be trusted is not used, does not raise, and is mentioned with what to do."""
    here = machine()
    measured.save(here, document())
    measured.path(here).write_text(text, encoding="latin-1")
    cached = measured.load(here)
    assert cached.measurement is None
    assert any("--fresh" in note for note in cached.notes)
    assert this_target(machine=here).device.bandwidth_basis == ""


def test_failed_write_keeps_the_old_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the stored measurement as it was, and no half-written file beside it."""
    here = machine()
    measured.save(here, document(50e9))

    def full(self: Path, *_: Any, **__: Any) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        measured.save(here, document(70e9))
    kept = measured.load(here).measurement
    assert kept is not None
    assert kept.bytes_per_s == 50e9
    assert [file.name for file in measured.folder().iterdir()] == [measured.path(here).name]


def test_command_measures_once_and_shows_the_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sizer probe --json` measures, stores, and the next call shows the stored one; `--fresh` measures again."""
    monkeypatch.setattr(probe, "LARGEST_ARRAY_BYTES", MIB)  # a large cache would ask for gigabytes
    first = CliRunner().invoke(command, ["--json", "--seconds", "0.1"], catch_exceptions=False)
    assert first.exit_code == 0
    told = json.loads(first.stdout)
    assert told["schema_version"] == 1
    assert told["memory_bandwidth_bytes_per_s"] > 0
    assert {"device", "cpu", "cores", "memory_bytes", "gpus"} <= set(told["machine"])
    assert {"kernel", "backend", "threads", "bytes_per_s", "cores"} == set(told["kernels"][0])
    assert told["threads_tried"] == sorted({kernel["threads"] for kernel in told["kernels"]})
    second = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout)
    assert second["cached"]
    assert second["measured_at_s"] == told["measured_at_s"]
    again = CliRunner().invoke(command, ["--fresh", "--seconds", "0.1"], catch_exceptions=False)
    assert "CPU memory bandwidth, just now" in again.stdout
