"""A device as its owner states it: figures of their own, memory that others use, a limit of its power."""

from __future__ import annotations

import math
from dataclasses import replace

from sizer.device.lookup import without_sizes_note
from sizer.device.records import Device, Target
from sizer.device.usable import as_sold
from sizer.errors import UsageError
from sizer.units import GB, GIB, format_bandwidth, format_gib

LEAST_MEASURED_POWER_SHARE = 0.6
"""Of the rows with a power limit the lowest is 220 of 350 W (RTX 3090, data/measurements.csv)."""
LEAST_POWER_SHARE = 0.2
"""Below a fifth of its power no driver holds a card: the least is 100 of 400 W (A100 SXM4), 150 of 450 W (RTX 4090)."""


def override(
    target: Target,
    bandwidth_bytes_per_s: float | None = None,
    memory_bytes: int | None = None,
    flops_per_s: float | None = None,
) -> Target:
    """The target with figures of the user's own for each device.

    `flops_per_s` is the dense fp16 and bf16 peak; the device's other peaks go with it, as they do with its clocks.
    """
    device, notes = target.device, list(target.notes)
    if bandwidth_bytes_per_s is not None:
        device = replace(device, bandwidth_bytes_per_s=bandwidth_bytes_per_s, bandwidth_basis="stated")
        notes.append("memory bandwidth as given")
    if memory_bytes is not None:
        sold_bytes = as_sold(memory_bytes)
        notes = [*without_sizes_note(notes, device), "memory as given"]
        device = replace(device, memory_bytes=sold_bytes, memory_basis="stated", memory_options_bytes=())
        if sold_bytes != memory_bytes:
            notes[-1] += f": {memory_bytes // GB} GB of memory are {sold_bytes // GIB} GiB"
    if flops_per_s is not None:
        peaks = device.peak_flops_per_s
        known = peaks.get("bf16") or peaks.get("fp16")
        others = {name: peak * flops_per_s / known for name, peak in peaks.items()} if known else peaks
        device = replace(device, peak_flops_per_s={**others, "fp16": flops_per_s, "bf16": flops_per_s})
        beside = ", its other peaks in proportion" if known and peaks.keys() - {"fp16", "bf16"} else ""
        notes.append(f"fp16 and bf16 peak as given{beside}")
    return replace(target, device=device, notes=tuple(notes))


def reserved(target: Target, size_bytes: int) -> Target:
    """The target with that much of each device's memory put aside for what else uses it."""
    note = f"{format_gib(size_bytes)} of each device are put aside for what else uses it"
    return replace(target, reserve_bytes=target.reserve_bytes + size_bytes, notes=(*target.notes, note))


def power_limited(target: Target, limit_w: float) -> Target:
    """The target with each device's compute cut in proportion to a power limit; its memory bandwidth stays.

    On an RTX 3090 (350 W) held to 220 to 300 W, one sequence decodes within 2.5 % of its speed, and 32 sequences a card
    lose 14 to 20 % at 220 W; peaks in proportion predict 14 % (data/measurements.csv, lotto3090). Raises UsageError
    where the device's own power is not known, and for less than a fifth of it.
    """
    device = target.device
    if device.tdp_w is None:
        raise UsageError(
            f"--power-limit {limit_w:g}W: the power of {device.name!r} is not known.",
            "Give its compute at that limit with --flops.",
        )
    if limit_w >= device.tdp_w:
        note = f"the power limit of {limit_w:g} W is no lower than the card's own {device.tdp_w:g} W: nothing changes"
        return replace(target, notes=(*target.notes, note))
    share = limit_w / device.tdp_w
    if share < LEAST_POWER_SHARE:
        least_w = math.ceil(LEAST_POWER_SHARE * device.tdp_w)
        raise UsageError(
            f"--power-limit {limit_w:g}W: {device.name} takes {device.tdp_w:g} W, and no driver holds it so low.",
            f"Give at least {least_w} W; 'nvidia-smi -q -d POWER' tells the card's own least.",
        )
    peaks = {name: peak * share for name, peak in device.peak_flops_per_s.items()}
    note = f"compute cut to {share:.0%} by the power limit of {limit_w:g} W, bandwidth as it is"
    if share < LEAST_MEASURED_POWER_SHARE:
        note += f"; below {LEAST_MEASURED_POWER_SHARE:.0%} of a card's power nobody has measured"
    limited = replace(device, peak_flops_per_s=peaks, tdp_w=limit_w)
    return replace(target, device=limited, notes=(*target.notes, note))


def described(
    bandwidth_bytes_per_s: float | None = None,
    memory_bytes: int | None = None,
    flops_per_s: float | None = None,
    kind: str = "gpu",
) -> Target:
    """A device that only its figures describe; what is not given is not known."""
    blank = Device(
        key="custom",
        name=_told(bandwidth_bytes_per_s, memory_bytes, kind),
        vendor="",
        kind=kind,
        memory_bytes=None,
        bandwidth_bytes_per_s=None,
        source="the user",
    )
    return override(Target(blank, asked="custom"), bandwidth_bytes_per_s, memory_bytes, flops_per_s)


def _told(bandwidth_bytes_per_s: float | None, memory_bytes: int | None, kind: str) -> str:
    """`a GPU of 24 GiB at 936 GB/s`: what a device is called of which no more is told."""
    size = f" of {as_sold(memory_bytes) / GIB:.3g} GiB" if memory_bytes else ""
    rate = f" at {format_bandwidth(bandwidth_bytes_per_s)}" if bandwidth_bytes_per_s else ""
    return f"{'a CPU' if kind == 'cpu' else 'a GPU'}{size}{rate}"
