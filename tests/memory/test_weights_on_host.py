"""`--cpu-offload-gb`: a part of each device's weights lies on the host, and each step reads it over the link."""

from __future__ import annotations

import pytest

from sizer import estimate
from sizer.answer.document import ModelEstimate
from sizer.units import GIB


def asked(flags: str, device: str = "rtx-4090", model: str = "Qwen/Qwen3-32B", ram: int = 96) -> ModelEstimate:
    """One estimate of vLLM with flags, offline."""
    answer = estimate(
        model, device=device, precision="bf16", engine=f"vllm {flags}", ram_bytes=ram * GIB, offline=True, context=4096
    )
    return answer.estimates[0]


def test_the_sum_moves_from_the_device_to_the_host() -> None:
    """48 GiB less on the card, 48 GiB on the host; the whole stays the same, and it fits where it did not."""
    without, with_flag = asked(""), asked("--cpu-offload-gb 48")
    assert without.memory.devices[0].weights_bytes - with_flag.memory.devices[0].weights_bytes == 48 * GIB
    assert with_flag.memory.host.weights_bytes == 48 * GIB
    assert with_flag.memory.total_bytes == without.memory.total_bytes
    assert (without.memory.fits, with_flag.memory.fits) == (False, True)
    assert with_flag.memory.kv_capacity_tokens is not None
    room = with_flag.memory.devices[0]
    assert room.available_bytes is not None
    fixed = room.total_bytes - room.kv_cache_bytes
    bytes_a_token = 64 * 8 * 128 * 2 * 2
    assert with_flag.memory.kv_capacity_tokens == pytest.approx((room.available_bytes - fixed) / bytes_a_token, abs=16)


def test_each_rank_keeps_as_much_on_the_host() -> None:
    """The number is one device's: two ranks leave twice as much there, and no more than their layers have."""
    two = asked("--tensor-parallel-size 2 --cpu-offload-gb 10", "2xrtx-4090")
    assert two.memory.host.weights_bytes == 2 * 10 * GIB
    assert two.memory.devices[0].weights_bytes == two.memory.devices[1].weights_bytes
    everything = asked("--cpu-offload-gb 500", ram=256)
    embeddings = 2 * 151_936 * 5120 * 2
    assert everything.memory.devices[0].weights_bytes == pytest.approx(embeddings, rel=0.001)


def test_the_host_must_hold_it() -> None:
    """48 GiB do not fit into 32."""
    short = asked("--cpu-offload-gb 48", ram=32).memory
    assert short.fits is False
    assert short.shortfall_bytes == 16 * GIB


def test_a_step_reads_what_lies_on_the_host() -> None:
    """4 GiB over the host's memory or its link take at least as long as either would need for them, and cost speed."""
    fast, slow = asked("", "h100").decode, asked("--cpu-offload-gb 4", "h100").decode
    assert fast is not None
    assert slow is not None
    assert fast.tpot_s is not None
    assert slow.tpot_s is not None
    assert slow.tpot_s - fast.tpot_s > 4 * GIB / 64e9 / 2
