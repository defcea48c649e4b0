"""Chips whose CPU and accelerator share one memory, and their CPU alone."""

from __future__ import annotations

from dataclasses import replace

from sizer.device.records import Device
from sizer.regex import pattern

UNIFIED_KINDS = frozenset({"apple", "apu", "sbc"})
"""Kinds whose CPU and accelerator share one memory: "Apple M2 Max CPU" is the chip's row with the CPU computing."""
_GPU_BIN = pattern(r"\s*\(?\d+-core GPU\)?")


def cpu_part(device: Device) -> Device:
    """The CPU of a chip. The table's peaks are the accelerator's; the CPU's own are not known."""
    return replace(device, kind="cpu", name=f"{_GPU_BIN.sub('', device.name)} CPU", peak_flops_per_s={})


def npu_part(device: Device) -> Device:
    """The neural accelerator of a chip, whose peak is not known."""
    name = f"{_GPU_BIN.sub('', device.name)} NPU"
    return replace(device, kind="npu", name=name, peak_flops_per_s={}, beside_gpu=True)
