"""A Mac: its chip, the bin that the GPU's cores tell, memory and limits, and the Radeons of Intel ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sizer.device.edge import LARGEST_NUMBER, Edge, records
from sizer.device.evidence import Evidence, Reading, agree
from sizer.device.machine import Gpu, Machine
from sizer.device.pci import VENDORS, is_integrated_name
from sizer.units import GIB, MIB

DISPLAYS = ["system_profiler", "SPDisplaysDataType", "-json"]
GPU_CORES = ["ioreg", "-rc", "AGXAccelerator", "-d", "1"]
# Apple writes sizes in the user's language: `8 GB`, `1536 MB`, `1,5 GB`, `8 Go`.
_SIZE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([GM])[BoO\u0411]?")


def mac(edge: Edge) -> Machine:
    """The machine by sysctl, its accelerators by system_profiler."""

    def ask(name: str) -> str:
        return edge.run(["sysctl", "-n", name]).strip()

    def count(name: str) -> int | None:
        text = ask(name)
        return int(text) if text.isdecimal() else None

    cpu, (total, free) = ask("machdep.cpu.brand_string"), edge.memory()
    apple = cpu.startswith(("Apple", "VirtualApple")) or ask("hw.optional.arm64") == "1"
    cores, threads = count("hw.physicalcpu"), count("hw.logicalcpu")
    levels = count("hw.nperflevels") or 1
    memory = agree("memory", [Reading("sysctl", count("hw.memsize")), Reading("psutil", total if free else None)])
    wired = count("iogpu.wired_limit_mb")
    gpus, doubts = displays(edge, cpu, memory.size_bytes) if apple else (tuple(_radeons(edge)), [])
    return Machine(
        os="macOS",
        cpu=cpu,
        cpu_vendor="Apple" if apple else "GenuineIntel",
        cores=cores,
        fast_cores=count("hw.perflevel0.physicalcpu") if levels > 1 else None,
        threads=threads,
        usable_cores=float(threads) if threads else None,
        cache_bytes=count("hw.perflevel0.l2cachesize") or count("hw.l3cachesize"),
        memory_bytes=memory.size_bytes,
        physical_memory_bytes=memory.size_bytes,
        available_bytes=free,
        product=ask("hw.model"),
        virtual=ask("kern.hv_vmm_present") == "1",
        low_power=bool(re.search(r"^\s*lowpowermode\s+1\b", edge.run(["pmset", "-g"]), re.MULTILINE)),
        unified_memory=apple,
        wired_limit_bytes=wired * MIB if wired and apple else None,
        gpus=gpus,
        evidence=tuple(_evidence(cpu, memory.size_bytes, gpus)),
        doubts=tuple(filter(None, [memory.contradiction, *doubts])),
    )


def _evidence(cpu: str, memory_bytes: int | None, gpus: tuple[Gpu, ...]) -> Iterator[Evidence]:
    if cpu:
        yield Evidence("CPU", cpu, "sysctl machdep.cpu.brand_string")
    if memory_bytes:
        yield Evidence("memory", f"{memory_bytes / GIB:.4g} GiB", "sysctl hw.memsize")
    for gpu in gpus:
        if gpu.cores and gpu.vendor == "apple":
            yield Evidence("GPU cores", str(gpu.cores), gpu.told_by)


def displays(edge: Edge, cpu: str, memory_bytes: int | None) -> tuple[tuple[Gpu, ...], list[str]]:
    """The GPU of an Apple chip, with its core count: the chip's name does not tell the bin, the count does."""
    by_profiler = next((int(text) for text in map(_cores, _cards(edge)) if text.isdecimal()), None)
    match = re.search(r'"gpu-core-count"\s*=\s*(\d+)', edge.run(GPU_CORES))
    by_registry = int(match[1]) if match else None
    doubts = []
    if by_profiler and by_registry and by_profiler != by_registry:
        doubts.append(f"GPU cores: system_profiler says {by_profiler}, ioreg says {by_registry}; the first is taken")
    told_by = "system_profiler" if by_profiler else "ioreg" if by_registry else "sysctl"
    # A translated process is told the chip's true name; a virtual machine makes one up.
    name = "Apple Silicon (virtual)" if cpu.startswith("VirtualApple") else cpu
    gpu = Gpu(name, "apple", memory_bytes=memory_bytes, cores=by_profiler or by_registry, told_by=told_by)
    return (gpu,), doubts


def _cards(edge: Edge) -> list[dict[str, object]]:
    profile = edge.json(DISPLAYS)
    return records(profile.get("SPDisplaysDataType")) if isinstance(profile, dict) else []


def _cores(card: dict[str, object]) -> str:
    return str(card.get("sppci_cores", ""))


def _radeons(edge: Edge) -> Iterator[Gpu]:
    """The GPUs of an Intel Mac: cards with memory of their own, and Intel's in the processor."""
    for card in _cards(edge):
        name = str(card.get("sppci_model") or card.get("_name") or "")
        vendor_id = str(card.get("spdisplays_vendor-id", "")).removeprefix("0x")
        told = f"{card.get('spdisplays_vendor', '')} {name}".casefold()
        vendor = VENDORS.get(vendor_id) or next((one for one in ("amd", "intel", "nvidia") if one in told), "")
        if not name or not vendor:
            continue
        shared = _size(card.get("spdisplays_vram_shared") or card.get("_spdisplays_vram_shared"))
        own = _size(card.get("spdisplays_vram") or card.get("_spdisplays_vram"))
        integrated = is_integrated_name(name) or (shared is not None and own is None)
        device = str(card.get("spdisplays_device-id", "")).removeprefix("0x")
        yield Gpu(
            name=name,
            vendor=vendor,
            memory_bytes=None if integrated else own,
            shared_memory_bytes=shared,
            integrated=integrated,
            pci_id=f"{vendor_id}:{device}" if vendor_id and device else "",
            told_by="system_profiler",
        )


def _size(value: object) -> int | None:
    match = _SIZE.search(str(value or "").replace("\u00a0", " "))
    number = float(match[1].replace(",", ".")) if match else 0.0
    return int(number * (GIB if match[2] == "G" else MIB)) if match and number < LARGEST_NUMBER / GIB else None
