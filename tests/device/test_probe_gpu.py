"""The probe of accelerators: arrays that fit, one kernel for every kind, failures noted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from smallmachine import machine

from sizer.device import probe_gpu
from sizer.device.machine import Gpu
from sizer.units import GIB


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_gpu_arrays_leave_most_of_the_memory(kind: str) -> None:
    """On every kind of accelerator an array takes an eighth of what is free at most, also where nothing tells it."""
    library = SimpleNamespace(mem_get_info=lambda _: (8 * GIB, 16 * GIB), recommended_max_memory=lambda: 8 * GIB)
    place = kind if kind == "mps" else f"{kind}:0"
    here = machine(available_bytes=4 * GIB)
    assert probe_gpu._array_bytes(SimpleNamespace(**{kind: library}), place, here) == GIB
    assert probe_gpu._array_bytes(SimpleNamespace(**{kind: SimpleNamespace()}), place, here) == GIB // 2


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_every_kind_of_accelerator_is_measured_by_one_kernel(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA (ROCm's builds are called so too), XPU and MPS: the same triad and copy, each waited for by its library."""
    clock, waits = [0.0], [0]
    torch = fake_torch(clock)
    absent = SimpleNamespace(is_available=lambda: False)

    def synchronize(*_: object) -> None:
        waits[0] += 1

    torch.cuda.synchronize = synchronize
    present = (
        torch.cuda
        if kind != "mps"
        else SimpleNamespace(synchronize=synchronize, recommended_max_memory=lambda: 8 * GIB)
    )
    torch.cuda, torch.xpu = (torch.cuda if kind == "cuda" else absent), absent
    torch.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: kind == "mps"))
    setattr(torch, kind, present)
    monkeypatch.setattr(probe_gpu, "_torch", lambda: torch)
    monkeypatch.setattr(probe_gpu.time, "perf_counter", lambda: clock[0])
    rates, notes = probe_gpu.bandwidths(machine(gpus=(Gpu("Apple M3 Max" if kind == "mps" else "Card", "any"),)))
    assert notes == ()
    assert {rate.kernel: round(rate.bytes_per_s) for rate in rates} == {"triad": 3000 * GIB, "copy": 2000 * GIB}
    assert {rate.name for rate in rates} == {"Apple M3 Max" if kind == "mps" else "NVIDIA Test"}
    assert waits[0] == 2 * 2 * (probe_gpu.PASSES + 1)


def test_accelerator_that_fails_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU without free memory is said, and the others are still measured."""
    clock = [0.0]
    torch = fake_torch(clock)
    torch.cuda.device_count = lambda: 2
    real = torch.ones

    def ones(*sizes: Any, device: str, **more: Any) -> Any:
        if device == "cuda:0":
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
        return real(*sizes, **more)

    torch.ones = ones
    monkeypatch.setattr(probe_gpu, "_torch", lambda: torch)
    monkeypatch.setattr(probe_gpu.time, "perf_counter", lambda: clock[0])
    rates, notes = probe_gpu.bandwidths(machine(gpus=(Gpu("NVIDIA Test", "nvidia"),) * 2))
    assert {rate.kernel for rate in rates} == {"triad", "copy"}
    assert notes == ("NVIDIA Test could not be measured: CUDA out of memory.",)


class FakeTensor:
    """A tensor that counts nothing and copies at once."""

    def copy_(self, _: object) -> None:
        """Copy."""


def fake_torch(seconds: list[float]) -> Any:
    """torch with one CUDA device whose every kernel takes a millisecond of the fake clock."""

    def work(*_: Any, **__: Any) -> None:
        seconds[0] += 1e-3

    tensor = FakeTensor()
    tensor.copy_ = work  # type: ignore[method-assign]
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda _: (8 * GIB, 8 * GIB),
        get_device_name=lambda _: "NVIDIA Test",
        synchronize=lambda _: None,
    )
    return SimpleNamespace(
        cuda=cuda, float32="f4", float16="f2", bfloat16="b2", ones=lambda *_, **__: tensor, add=work, matmul=work
    )


def test_gpu_rates_count_bytes_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A triad over three arrays of 1 GiB in a millisecond is 3 GiB/ms; a copy of two is two thirds of that."""
    clock = [0.0]
    monkeypatch.setattr(probe_gpu, "_torch", lambda: fake_torch(clock))
    monkeypatch.setattr(probe_gpu.time, "perf_counter", lambda: clock[0])
    rates, notes = probe_gpu.bandwidths(machine(gpus=(Gpu("NVIDIA Test", "nvidia"),)))
    assert notes == ()
    assert {rate.kernel: round(rate.bytes_per_s) for rate in rates} == {"triad": 3000 * GIB, "copy": 2000 * GIB}
    flops, _ = probe_gpu.flop_rates(machine())
    assert flops[0].flops_per_s == pytest.approx(2 * probe_gpu.GPU_MATRIX**3 / 1e-3)


def test_gpu_without_torch_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that cannot be measured is said, and no GPU loads no torch."""
    monkeypatch.setattr(probe_gpu, "_torch", lambda: None)
    rates, notes = probe_gpu.bandwidths(machine(gpus=(Gpu("NVIDIA Test", "nvidia"),)))
    assert rates == ()
    assert "torch" in notes[0]
    assert probe_gpu.bandwidths(machine()) == ((), ())
