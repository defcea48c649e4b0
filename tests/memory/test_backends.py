"""Memory by the backend that flags name."""

from __future__ import annotations

import pytest

import sizer
from sizer.units import MIB


@pytest.mark.parametrize(("flags", "compute_mib"), [("-c 34048 --device Vulkan0", 576.5), ("-c 34048", 493)])
def test_the_backend_is_the_one_that_flags_name(flags: str, compute_mib: float) -> None:
    """Qwen3.6-35B-A3B on a 7900 XTX takes more by Vulkan (build 9010) than by ROCm, which keeps the order."""
    answer = sizer.estimate(
        "Qwen/Qwen3.6-35B-A3B", device="rx-7900-xtx", precision="q4_0", engine=f"llama.cpp@b9010 {flags}"
    )
    compute_bytes = answer.estimates[0].memory.devices[0].compute_bytes
    assert compute_bytes / MIB == pytest.approx(compute_mib, abs=0.6)
