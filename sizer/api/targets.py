"""The targets that are asked for: devices by name or by figures, their hosts, this machine measured once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import DeviceAsked
from sizer.units import GIB

if TYPE_CHECKING:
    from sizer.device.records import Target

MOST_DESKTOP_BYTES = 256 * GIB
"""Two channels of two modules of 64 GB: AMD's and Intel's desktop CPUs of 2025 state no more."""


def targets(asked: DeviceAsked, say: Callable[[str], None] | None = None) -> list[Target]:
    """The targets of the devices asked for, with overrides and host applied.

    This machine's CPU, where nobody has measured it, is measured once (two seconds, stored); `say` is told so.
    Raises UnknownDevice with the nearest names, UsageError where figures contradict.
    """
    from sizer.device.catalogue import find
    from sizer.device.stated import described, override, power_limited, reserved

    figures = (asked.bandwidth_bytes_per_s, asked.memory_bytes, asked.flops_per_s)
    if not any(figure is not None for figure in figures):
        _measure_here(asked.names or ("this",), say)
    if asked.names:
        found = [override(find(name), *figures) for name in asked.names]
    elif any(figure is not None for figure in figures):
        found = [described(*figures)]
    else:
        found = [find("this")]
    if asked.power_limit_w is not None:
        found = [power_limited(target, asked.power_limit_w) for target in found]
    if asked.reserve_bytes is not None:
        found = [reserved(target, asked.reserve_bytes) for target in found]
    return [_with_host(target, asked) for target in found]


def _measure_here(names: Sequence[str], say: Callable[[str], None] | None) -> None:
    """Measure this machine's CPU memory once, if it is asked about and only a specification is known of it."""
    from sizer.device.catalogue import THIS_MACHINE

    if not any(name.strip().casefold() in THIS_MACHINE for name in names):
        return
    from sizer.device.detect import detect, this_target
    from sizer.device.probe import measure_once
    from sizer.device.records import is_cpu

    machine = detect()
    device = this_target(machine=machine).device
    known = device.bandwidth_bytes_per_s is not None and device.bandwidth_basis in {"measured", "modules"}
    if known or not is_cpu(device):
        return
    if say is not None:
        say("measuring this machine's memory bandwidth once ...")
    measure_once(machine)


def _with_host(target: Target, asked: DeviceAsked) -> Target:
    """The target with the host that --host, --ram and --ram-bandwidth describe."""
    from sizer.device.catalogue import find
    from sizer.device.lookup import with_system_memory
    from sizer.device.records import shares_memory
    from sizer.device.stated import described, override
    from sizer.device.usable import as_sold

    if asked.host is not None:
        host = find(asked.host)
        target = replace(target, host=host.device, host_count=host.count)
        memory_bytes = host.host_memory_bytes or host.device.memory_bytes
        if memory_bytes is not None:
            target = replace(target, host_memory_bytes=memory_bytes)
    if asked.ram_bytes is not None:
        target = with_system_memory(target, as_sold(asked.ram_bytes))
    if asked.ram_bandwidth_bytes_per_s is not None and shares_memory(target.device):
        if asked.bandwidth_bytes_per_s is None:
            target = override(target, asked.ram_bandwidth_bytes_per_s)  # the system's memory is the device's own
    elif asked.ram_bandwidth_bytes_per_s is not None:
        host_device = target.host or described(None, kind="cpu").device
        host_device = replace(host_device, bandwidth_bytes_per_s=asked.ram_bandwidth_bytes_per_s)
        target = replace(target, host=host_device)
    elif asked.ram_bytes is not None and target.host is None and not shares_memory(target.device):
        target = with_usual_host(target)
    return target


def with_usual_host(target: Target) -> Target:
    """The target with the host that most have who have so much memory, and a note that it was assumed."""
    from sizer.device.catalogue import find

    serves = (target.host_memory_bytes or 0) > MOST_DESKTOP_BYTES
    usual = find("server-cpu" if serves else "consumer-cpu").device
    note = f"The host's bandwidth is taken as that of {usual.name}: --host or --ram-bandwidth says it."
    if target.host_memory_bytes is None:
        note += " Its memory is not known: --ram says it."
    return replace(target, host=usual, notes=(*target.notes, note))
