"""Which cores of a CPU of two kinds an engine computes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawncases import asked

from sizer.device.catalogue import find
from sizer.speed.device_rates import fast_cores
from sizer.speed.rates import bandwidth_bytes_per_s, peak_flops_per_s, working_threads
from sizer.workload import Workload

HYBRID = "13th Gen Intel(R) Core(TM) i5-1335U"


@pytest.mark.parametrize(
    ("text", "fast"),
    [(HYBRID, 2), ("i7-13700k", 8), ("Intel Xeon E5-2697 v2", None), ("Apple M2 Max CPU", 8), ("Apple M1 CPU", 4)],
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
    """Two of ten cores read less than all, and have a fifth of their peak."""
    two = asked(engine="llama.cpp", target=find(HYBRID))
    ten = replace(two, workload=replace(two.workload, threads=10))
    assert bandwidth_bytes_per_s(two) < 0.8 * bandwidth_bytes_per_s(ten)
    assert peak_flops_per_s(two) == pytest.approx(peak_flops_per_s(ten) / 5)
