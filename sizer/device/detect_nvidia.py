"""NVIDIA GPUs: by NVML, by nvidia-smi where the library is not there (many containers), a Jetson by its board."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sizer.device.edge import Edge
from sizer.device.machine import Gpu
from sizer.device.visible import Card
from sizer.units import MIB

# Two transfers a clock: the memory clock that the driver prints is half of the data rate.
TRANSFERS_PER_CLOCK = 2
BITS_PER_BYTE = 8
FIELDS = ("uuid", "name", "memory.total", "memory.free", "driver_version", "compute_cap", "pcie.link.gen.max",
          "pcie.link.width.current")  # fmt: skip
QUERY = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
# The GPU of a Jetson, by its drivers' own files: of JetPack 4 and 5, of 6, of Thor.
JETSON_GPU = ("/dev/nvhost-gpu", "/dev/nvgpu", "/sys/devices/gpu.0", "/sys/devices/platform/gpu.0", "/dev/nvmap")


def nvidia(edge: Edge) -> list[Card]:
    """NVIDIA GPUs as their driver numbers them; a card in MIG mode is its instances."""
    return list(_by_nvml(edge.nvml())) or list(_by_smi(edge)) or list(_jetson(edge))


def _ask(nvml: Any, question: str, *arguments: Any) -> Any:
    """One question to NVML, None where this card, driver or binding does not answer it (it raises its own tree)."""
    try:
        return getattr(nvml, question)(*arguments)
    except Exception:
        return None


def _by_nvml(nvml: Any) -> Iterator[Card]:
    for number in range(_ask(nvml, "nvmlDeviceGetCount") or 0) if nvml is not None else ():
        handle = _ask(nvml, "nvmlDeviceGetHandleByIndex", number)
        if handle is None:
            continue
        instances = tuple(_mig_instances(nvml, handle))
        for gpu, handle_of in instances or ((_card(nvml, handle), handle),):
            yield Card(gpu, _text(_ask(nvml, "nvmlDeviceGetUUID", handle_of)))


def _card(nvml: Any, handle: Any) -> Gpu:
    """A card by what NVML says; what a driver does not answer is not known."""
    memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    width = _ask(nvml, "nvmlDeviceGetMemoryBusWidth", handle)
    clock = _ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_MEM", 2))
    capability = _ask(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    processes = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)
    return Gpu(
        name=_text(_ask(nvml, "nvmlDeviceGetName", handle)) or "NVIDIA GPU",
        vendor="nvidia",
        memory_bytes=int(memory.total) if memory else None,
        free_memory_bytes=int(memory.free) if memory else None,
        clock_bytes_per_s=width / BITS_PER_BYTE * clock * 1e6 * TRANSFERS_PER_CLOCK if width and clock else None,
        compute_capability=".".join(str(part) for part in capability) if capability else "",
        driver=_text(_ask(nvml, "nvmlSystemGetDriverVersion")),
        cores=_ask(nvml, "nvmlDeviceGetNumGpuCores", handle),
        pcie_generation=_ask(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle),
        pcie_lanes=_ask(nvml, "nvmlDeviceGetCurrPcieLinkWidth", handle),
        processes=len(processes) if processes is not None else None,
        told_by="NVML",
    )


def _mig_instances(nvml: Any, handle: Any) -> Iterator[tuple[Gpu, Any]]:
    """The MIG instances of a card, none where the mode is off. Their names carry the profile: `... MIG 1g.10gb`."""
    mode = _ask(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or not mode[0]:
        return
    card = _card(nvml, handle)
    for number in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        instance = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        if instance is None:
            continue
        profile = re.search(r"\d+g\.\d+gb", _text(_ask(nvml, "nvmlDeviceGetName", instance)))
        memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", instance)
        yield (
            Gpu(
                name=card.name,
                vendor="nvidia",
                memory_bytes=int(memory.total) if memory else None,
                free_memory_bytes=int(memory.free) if memory else None,
                compute_capability=card.compute_capability,
                driver=card.driver,
                mig_profile=profile[0] if profile else "",
                told_by="NVML",
            ),
            instance,
        )


def _text(value: Any) -> str:
    """Old bindings return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _by_smi(edge: Edge) -> Iterator[Card]:
    """The cards that nvidia-smi lists; a MIG card's instances stand in its `-L` alone."""
    listed = edge.run(["nvidia-smi", "-L"])
    for line in edge.run(QUERY).splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != len(FIELDS) or not parts[0].startswith("GPU-"):
            continue
        told = dict(zip(FIELDS, parts, strict=True))
        total, free = (_mebibytes(told[name]) for name in ("memory.total", "memory.free"))
        gpu = Gpu(
            name=told["name"],
            vendor="nvidia",
            memory_bytes=total,
            free_memory_bytes=free,
            compute_capability=told["compute_cap"] if re.fullmatch(r"\d+\.\d+", told["compute_cap"]) else "",
            driver=told["driver_version"],
            pcie_generation=_digits(told["pcie.link.gen.max"]),
            pcie_lanes=_digits(told["pcie.link.width.current"]),
            told_by="nvidia-smi",
        )
        yield from _listed_instances(listed, gpu, told["uuid"]) or (Card(gpu, told["uuid"]),)


def _listed_instances(listed: str, card: Gpu, uuid: str) -> list[Card]:
    """`MIG 1g.10gb Device 0: (UUID: MIG-...)` below the line of a card."""
    _, found, rest = listed.partition(uuid)
    below = re.split(r"^GPU \d+:", rest, maxsplit=1, flags=re.MULTILINE)[0] if found else ""
    return [
        Card(
            Gpu(
                name=card.name,
                vendor="nvidia",
                compute_capability=card.compute_capability,
                driver=card.driver,
                mig_profile=profile,
                told_by="nvidia-smi",
            ),
            instance,
        )
        for profile, instance in re.findall(r"MIG (\d+g\.\d+gb)\S*\s+Device\s+\d+: \(UUID: (\S+?)\)", below)
    ]


def _mebibytes(text: str) -> int | None:
    number = _digits(text)
    return number * MIB if number else None


def _digits(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _jetson(edge: Edge) -> Iterator[Card]:
    """The GPU of a Jetson, whose board names it: not every release of its system has NVML."""
    board = edge.read("/proc/device-tree/model")
    if re.search(r"\bJetson\b|\bNVIDIA (?:Orin|Thor|Xavier)\b", board) and any(map(edge.exists, JETSON_GPU)):
        yield Card(Gpu(name=board, vendor="nvidia", integrated=True, told_by="/proc/device-tree/model"))
