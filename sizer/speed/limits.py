"""What no device does faster, whatever engines are like: its memory's and its products' nominal rates."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.device.records import Device, is_cpu
from sizer.speed.case import SpeedCase
from sizer.speed.device_rates import cpu_flops_per_s
from sizer.speed.law import MEMORY, Amount
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import Traffic, decode_traffic

MOST_CORE_PRODUCTS = 8
"""What cores multiply at the most over their fp32 vectors: four times with matrix units
(data/core_matrix_units.csv), twice
that in bytes."""


def bandwidth_limit(amounts: Iterable[Amount]) -> float:
    """Steps a second at which the weights and the cache alone would take the nominal bandwidth: nothing is faster."""
    least_s = sum(amount.least_s for amount in amounts if amount.part == MEMORY)
    return 1 / least_s if least_s > 0 else float("inf")


def _products_per_s(device: Device, threads: int | None) -> float:
    """The most FLOPs that a device's specification allows in a second; infinite where it tells none.

    Cores without a peak of their own for fewer bits (AMX has one) multiply bytes at eight times their fp32 rate at
    most: dot products of four bytes a lane (VNNI, SDOT), matrices of eight (SMMLA).
    """
    peaks = device.peak_flops_per_s
    if is_cpu(device) and "fp32" in peaks:
        peaks = {**peaks, "fp32": MOST_CORE_PRODUCTS * cpu_flops_per_s(device, threads)}
    return max(peaks.values(), default=float("inf"))


def products_limit(case: SpeedCase, traffic: Traffic) -> float:
    """Prompt tokens/s at which the products alone would take every device's highest peak: nothing is faster."""
    peak = sum(_products_per_s(device, case.workload.threads) for device in case.devices)
    return traffic.tokens * peak / traffic.flops if traffic.flops else float("inf")


def fastest_decode(case: SpeedCase) -> float:
    """Decode tokens/s of one sequence that `predict` does not exceed, everything on the devices: for a search that asks
    for a speed. Infinite where this machine's own measurements stand over the law."""
    if case.target.local_ratios or not case.target.device.bandwidth_bytes_per_s:
        return float("inf")
    return bandwidth_limit(decode_amounts(case, decode_traffic(case.architecture, case.stored, case.workload)))
