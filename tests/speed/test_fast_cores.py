"""Which cores of a CPU of two kinds an engine computes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from drawncases import asked

from sizer.device.catalogue import find
from sizer.speed.device_rates import cpu_flops_per_s, fast_cores
from sizer.speed.rates import bandwidth_bytes_per_s, peak_flops_per_s, working_threads
from sizer.workload import Workload

HYBRID = "13th Gen Intel(R) Core(TM) i5-1335U"


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        (HYBRID, 2),
        ("i7-13700k", 8),
        ("i9-14900k", 8),
        ("Core Ultra 9 285K", 8),
        ("Core Ultra 7 155H CPU", 6),
        ("Intel Xeon E5-2697 v2", None),
        ("Apple M2 Max CPU", 8),
        ("Apple M1 CPU", 4),
    ],
)
def test_fast_cores_of_a_part(text: str, fast: int | None) -> None:
    """A part number or a chip's row tells how many of its cores are of the fast kind, where it has two."""
    assert fast_cores(find(text).device) == fast


@pytest.mark.parametrize(
    ("engine", "text", "threads", "working"),
    [
        ("llama.cpp", HYBRID, None, 2),  # efficient cores are left alone
        ("ollama", HYBRID, None, 2),
        ("llama.cpp", HYBRID, 10, 10),  # unless asked for
        ("transformers", HYBRID, None, None),
        ("llama.cpp", "Apple M2 Max CPU", None, 8),
        ("llama.cpp", "ryzen-9-7950x", None, None),
    ],
)
def test_who_leaves_the_efficient_cores_alone(engine: str, text: str, threads: int | None, working: int | None) -> None:
    """llama.cpp's default is a thread for each fast core of Intel's and Apple's parts; what is asked for stands."""
    case = asked(engine=engine, target=find(text), workload=Workload(100, 28, 128, threads=threads))
    assert working_threads(case) == working


def test_fewer_cores_read_and_compute_less() -> None:
    """Two of ten cores read less than all; the eight others are of the efficient kind, of 0.4 of a fast core each."""
    two = asked(engine="llama.cpp", target=find(HYBRID))
    ten = replace(two, workload=replace(two.workload, threads=10))
    assert bandwidth_bytes_per_s(two) < 0.8 * bandwidth_bytes_per_s(ten)
    assert peak_flops_per_s(ten) == pytest.approx(peak_flops_per_s(two) * (2 + 8 * 0.4) / 2)


@pytest.mark.parametrize(
    ("earlier", "later"), [("i9-13900K", "i9-14900K"), ("i5-13600K", "i5-14600K"), ("i7-13700K", "i7-14700K")]
)
def test_generations_of_one_core_are_told_by_one_rule(earlier: str, later: str) -> None:
    """The 14th generation is the 13th's die at a clock as high or higher: nearly the peak, and no less."""
    peaks = [peak_flops_per_s(asked(engine="llama.cpp", target=find(part))) for part in (earlier, later)]
    assert peaks[0] <= peaks[1] < 1.1 * peaks[0]


def test_parts_are_told_by_their_highest_clock() -> None:
    """A part of the table (3.4 GHz at least, 4.9 at most) and one that is not in it (4.6) are told by one rule; a
    slice of one has so many of its cores, and a power limit takes its share."""
    listed, unlisted = find("AMD Ryzen 9 5950X").device, find("AMD Ryzen 9 5900HX").device
    assert cpu_flops_per_s(listed) == pytest.approx(16 * 1e11 * 4.9 / 4.2)
    assert cpu_flops_per_s(unlisted) == pytest.approx(8 * 1e11 * 4.6 / 4.2)
    assert cpu_flops_per_s(find("AMD Ryzen 9 5950X 4-core").device) == pytest.approx(cpu_flops_per_s(listed) / 4)
    held = replace(listed, peak_flops_per_s={"fp32": listed.peak_flops_per_s["fp32"] / 2})
    assert cpu_flops_per_s(held) == pytest.approx(cpu_flops_per_s(listed) / 2)


def test_efficient_cores_alone_have_half_the_width() -> None:
    """An N100's four cores are of the efficient kind: two 128-bit units, where the fast kind has two of 256."""
    assert cpu_flops_per_s(find("Intel N100").device) == pytest.approx(4 * 0.5e11 * 3.4 / 4.2)


def test_cores_that_read_together_reach_less_each() -> None:
    """Each further thread adds bandwidth, and less than the one before it."""
    cases = [
        asked(engine="llama.cpp", target=find("EPYC 9654"), workload=Workload(100, 28, 128, threads=n))
        for n in (1, 2, 4, 8)
    ]
    rates = [bandwidth_bytes_per_s(case) for case in cases]
    assert rates == sorted(rates)
    steps = [later / earlier for earlier, later in pairwise(rates)]
    assert all(1.2 < step < 2**0.7 for step in steps)
