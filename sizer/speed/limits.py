"""What no device does faster, whatever engines are like: its memory's and its products' nominal rates."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.device.records import Device, is_cpu
from sizer.speed.case import SpeedCase
from sizer.speed.device_rates import core_kinds, cpu_flops_per_s
from sizer.speed.kernels import precision_class, served_products
from sizer.speed.law import MEMORY, Amount
from sizer.speed.rates import working_threads
from sizer.speed.terms import decode_amounts, step_traffic
from sizer.speed.traffic import Traffic

WIDE_PRODUCTS = frozenset({"bf16", "fp16", "fp32"})
MOST_CORE_PRODUCTS = 8
"""What cores multiply at the most over their fp32 vectors: four times with matrix units
(data/matrix_instructions.csv), twice that in bytes."""


def bandwidth_limit(amounts: Iterable[Amount]) -> float:
    """Steps a second at which the weights and the cache alone would take the nominal bandwidth: nothing is faster."""
    least_s = sum(amount.least_s for amount in amounts if amount.part == MEMORY)
    return 1 / least_s if least_s > 0 else float("inf")


def _products_per_s(case: SpeedCase, device: Device) -> float:
    """The most FLOPs in a second that a device's specification allows in the formats that the stored weights may be
    multiplied in; infinite where it tells none.

    Those are 16 bits, the formats of `data/product_types.csv`, and bytes where a runtime quantizes activations beside
    packed weights (`data/kernel_facts.csv`). Cores without a peak of their own for fewer bits (AMX has one) multiply
    bytes at eight times their fp32 rate at most: dot products of four bytes a lane (VNNI, SDOT), matrices of eight
    (SMMLA).
    """
    peaks = device.peak_flops_per_s
    if is_cpu(device) and ("fp32" in peaks or core_kinds(device.key)):
        peaks = {**peaks, "fp32": MOST_CORE_PRODUCTS * cpu_flops_per_s(device, working_threads(case))}
    if is_cpu(device) or not peaks.keys() & WIDE_PRODUCTS:
        return max(peaks.values(), default=float("inf"))
    formats = _formats(case)
    return max(peak for name, peak in peaks.items() if name in formats)


def _formats(case: SpeedCase) -> frozenset[str]:
    """The formats that the stored weights may be multiplied in."""
    kernel, bits = precision_class(case.stored.precision)
    sums = {"fp16_acc16"} if case.engine.accumulates == "fp16" else set()
    bytes_ = {"int8"} if bits != "float" and case.kernels.int8_products else set()
    return WIDE_PRODUCTS | sums | bytes_ | set(served_products(kernel))


def products_limit(case: SpeedCase, traffic: Traffic) -> float:
    """Prompt tokens/s at which the products alone would take every device's peak: nothing is faster."""
    peak = sum(_products_per_s(case, device) for device in case.devices)
    return traffic.tokens * peak / traffic.flops if traffic.flops else float("inf")


def fastest_decode(case: SpeedCase) -> float:
    """Decode tokens/s of one sequence that `predict` does not exceed, everything on the devices: for a search that asks
    for a speed. Infinite where this machine's own measurements stand over the law."""
    if case.target.local_ratios or not case.target.device.bandwidth_bytes_per_s:
        return float("inf")
    return bandwidth_limit(decode_amounts(case, step_traffic(case)))
