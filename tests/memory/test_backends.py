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


@pytest.mark.parametrize(
    ("engine", "device_mib", "host_mib"),
    [
        ("llama.cpp -ngl 99", (91, 93), (28, 29)),
        ("llama.cpp --cpu-moe", (271, 273), (28, 29)),
        ("llama.cpp --cpu-moe -ub 16", (1, 3), (3, 4)),
        ("ik_llama.cpp --cpu-moe", (296, 310), (19, 21)),
        ("ik_llama.cpp --cpu-moe -ub 256", (148, 170), (28, 32)),
    ],
)
def test_experts_pass_through_the_card_where_a_step_is_long_enough(
    engine: str, device_mib: tuple[int, int], host_mib: tuple[int, int]
) -> None:
    """Nothing is copied where all lies on the card or a step has few tokens: then the host computes, in its own buffer.

    A stack of 204 MiB passes beside 68; ik_llama.cpp has logits of every row, and counts an expert's tokens (16 of 32).
    """
    answer = sizer.estimate(
        "Qwen/Qwen3-30B-A3B", device="rtx-4090", precision="q8_0", ram_bytes=128 * 1024**3, engine=f"{engine} -c 8192"
    )
    memory = answer.estimates[0].memory
    assert device_mib[0] < memory.devices[0].compute_bytes / MIB < device_mib[1]
    assert host_mib[0] < memory.host.compute_bytes / MIB < host_mib[1]
