"""CUDA compute capabilities of devices: which kernels a card is new enough for."""

from __future__ import annotations

from functools import cache

from sizer.device.records import Device
from sizer.tables import matches, read_rows


@cache
def _capabilities() -> tuple[tuple[str, float], ...]:
    return tuple((row["device"], float(row["capability"])) for row in read_rows("cuda_capability.csv"))


def cuda_capability(device: Device) -> float:
    """The CUDA compute capability of an NVIDIA device before Ada; of all others, more than any need.

    `data/cuda_capability.csv`.
    """
    return _of_key(device.key) if device.vendor == "nvidia" else float("inf")


@cache
def _of_key(key: str) -> float:
    return next((found for pattern, found in _capabilities() if matches(pattern, key)), float("inf"))
