"""Measured figures that no physics allows: told by rule, with the reason, and neither learned from nor scored."""

from __future__ import annotations

from sizer.speed.case import SpeedCase
from sizer.speed.terms import host_share, nominal_bandwidth_bytes_per_s
from sizer.speed.traffic import Traffic

DISK_BYTES_PER_S = 1.5e9
"""A slow solid-state disk. A step that takes longer than reading the whole model from it was not the device's."""
DECODE_MARGIN, PROMPT_MARGIN = 1.6, 2.0
"""How far beyond the specification a figure may lie: caches beside the memory and clocks above the nominal."""


def impossible_decode(case: SpeedCase, traffic: Traffic, step_s: float) -> str:
    """Why no device of this specification makes this step in this time; empty where one may."""
    hosted = case.placement is not None and case.placement.host is not None
    least_s = traffic.bytes_read / (nominal_bandwidth_bytes_per_s(case) * DECODE_MARGIN)
    if not hosted and step_s < least_s and case.workload.batch_size == 1:
        return f"a step of {step_s * 1e3:.3g} ms is faster than {case.device.name} can read the weights and the cache"
    longest_s = case.stored.weights_bytes / DISK_BYTES_PER_S
    if step_s > max(1.0, longest_s):
        return f"a step of {step_s:.3g} s is slower than reading the whole model from a disk"
    return ""


def impossible_prompt(case: SpeedCase, traffic: Traffic, prompt_s: float) -> str:
    """Why no device of this specification reads this prompt in this time; empty where one may."""
    peaks = case.device.peak_flops_per_s
    if not peaks or case.device.kind == "cpu":
        return ""
    least_s = traffic.flops / (max(peaks.values()) * len(case.devices) * PROMPT_MARGIN)
    if prompt_s < least_s:
        return f"{traffic.tokens / prompt_s:,.0f} tokens/s of prompt take more products than {case.device.name} can do"
    return ""


def unknown_share(case: SpeedCase) -> str:
    """Why an offloaded row teaches nothing: it fits the device, so how much was left on the host is anyone's guess."""
    if host_share(case):
        return ""
    return f"part of it is said to lie on the host, and {case.device.name} holds all of it: the share is not told"
