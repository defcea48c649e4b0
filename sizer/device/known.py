"""What is known of this machine and how: each fact with its source, what could not be known, and what to type then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sizer.device.evidence import Evidence
from sizer.device.here import computing
from sizer.device.machine import Machine
from sizer.device.naming import is_listed, table_line
from sizer.device.records import Device, Target, is_cpu
from sizer.frozen import NamedTuple
from sizer.units import GB, TB

BASES = {
    "": "specification",
    "measured": "measured here by sizer probe",
    "modules": "installed modules: channels x MT/s x 8 bytes",
    "clock": "driver: bus width x memory clock",
    "stated": "stated by the user",
}


class Unknown(NamedTuple):
    """Something that could not be known, why, and what to type."""

    fact: str
    reason: str
    type: str


class Knowledge(NamedTuple):
    """All of it. `table_line` adds the device to `data/devices.csv`, empty for one that is there."""

    facts: tuple[Evidence, ...]
    unknown: tuple[Unknown, ...]
    table_line: str = ""


def knowledge(machine: Machine, target: Target, document: Mapping[str, Any] | None = None) -> Knowledge:
    """What is known of a machine and of the target that estimates take it for; `document` is its stored probe."""
    device = target.device
    facts = (*machine.evidence, *_of_machine(machine), *_of_device(device, target), *_measured(document or {}))
    return Knowledge(facts, tuple(_unknown(machine, target)), "" if is_listed(device) else table_line(device))


def _of_machine(machine: Machine) -> Iterator[Evidence]:
    counted = {"Linux": "/proc/cpuinfo", "Android": "/proc/cpuinfo", "macOS": "sysctl", "Windows": "CIM"}
    if machine.cores or machine.threads:
        fast = f", {machine.fast_cores} of them fast" if machine.fast_cores else ""
        value = f"{machine.cores or '?'} cores{fast}, {machine.threads or '?'} threads"
        yield Evidence("cores", value, counted.get(machine.os, "psutil"))
    if machine.usable_cores and machine.threads and machine.usable_cores < machine.threads:
        yield Evidence("usable cores", f"{machine.usable_cores:g}", "affinity and the container's quota")
    if machine.virtual:
        yield Evidence("virtual machine", machine.product or "yes", "CPU flags and firmware")
    yield from (Evidence("NPU", name, "CIM (named, not used)") for name in machine.npus)
    yield from (Evidence("hidden", text, "environment") for text in machine.hidden)


def _of_device(device: Device, target: Target) -> Iterator[Evidence]:
    source = "devices.csv" if is_listed(device) else "not in devices.csv: what its driver says"
    times = f" x{target.count}" if target.count > 1 else ""
    yield Evidence("taken as", f"{device.key}{times}", source)
    if device.bandwidth_bytes_per_s:
        basis = BASES[device.bandwidth_basis]
        listed = f"{basis} (devices.csv)" if not device.bandwidth_basis else basis
        yield Evidence("memory bandwidth", f"{device.bandwidth_bytes_per_s / GB:,.4g} GB/s", listed)
    peak = device.peak_flops_per_s.get("bf16") or device.peak_flops_per_s.get("fp16")
    if peak:
        yield Evidence("16-bit compute", f"{peak / TB:,.4g} TFLOPS", "specification (devices.csv)")


def _measured(document: Mapping[str, Any]) -> Iterator[Evidence]:
    for rate in document.get("gpu_memory_bandwidth", ()):
        if rate["kernel"] == "triad":
            yield Evidence(
                f"{rate['name']} bandwidth", f"{rate['bytes_per_s'] / GB:,.4g} GB/s", "measured (torch triad)"
            )


def _unknown(machine: Machine, target: Target) -> Iterator[Unknown]:
    device = target.device
    if not machine.cpu:
        yield Unknown("CPU", "the system does not name it", "--device NAME says it")
    if machine.memory_bytes is None:
        yield Unknown("memory", "the system does not tell it", "--ram 64GiB")
    if device.memory_bytes is None and not is_cpu(device):
        yield Unknown("the device's memory", "its driver does not tell it", "--memory 24GiB")
    if device.bandwidth_bytes_per_s is None:
        yield Unknown("memory bandwidth", "no table has the part", "sizer probe --fresh, or --bandwidth 936GB/s")
    elif is_cpu(device) and not device.bandwidth_basis and machine.mem_mts is None:
        yield Unknown("the modules' speed", _why_no_modules(machine), "sizer probe --fresh measures it")
    if not device.peak_flops_per_s and not is_cpu(device):
        yield Unknown("16-bit compute", "no table has the part", "--flops 71TFLOPS; sizer probe --flops measures it")
    if not machine.cores and not machine.threads:
        yield Unknown("cores", "the system does not count them", "--threads N")
    if machine.unified_memory and device.kind == "apple" and not any(gpu.cores for gpu in computing(machine)[0]):
        yield Unknown("GPU cores", "system_profiler and ioreg do not answer", f"--device '{device.key}' names the bin")


def _why_no_modules(machine: Machine) -> str:
    return {
        "Linux": "a virtual machine's are made up" if machine.virtual else "dmidecode is missing or needs root",
        "macOS": "macOS does not tell it",
    }.get(machine.os, "the system does not tell it")
