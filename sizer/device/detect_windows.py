"""A Windows machine: processor, modules and adapters by CIM, true sizes by the registry. No rights are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sizer.device.edge import Edge, records, whole_number
from sizer.device.evidence import Evidence, Reading, agree
from sizer.device.machine import Gpu, Machine
from sizer.device.modules import NOTHING_TOLD, from_cim
from sizer.device.pci import VENDORS, find_pci, ids_of, is_integrated_name
from sizer.device.visible import Card
from sizer.frozen import NamedTuple
from sizer.units import GIB, KIB

PROCESSORS = r"HARDWARE\DESCRIPTION\System\CentralProcessor"
ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
SCRIPT = (
    "$ErrorActionPreference='SilentlyContinue';[Console]::OutputEncoding=[Text.UTF8Encoding]::new($false);@{"
    "cpu=@(Get-CimInstance Win32_Processor|"
    "Select-Object Name,Manufacturer,NumberOfCores,NumberOfLogicalProcessors,L3CacheSize);"
    "modules=@(Get-CimInstance Win32_PhysicalMemory|"
    "Select-Object Capacity,Speed,ConfiguredClockSpeed,SMBIOSMemoryType,DeviceLocator,BankLocator,DataWidth);"
    "gpus=@(Get-CimInstance Win32_VideoController|Select-Object Name,AdapterRAM,PNPDeviceID,DriverVersion);"
    "system=@(Get-CimInstance Win32_ComputerSystem|Select-Object Manufacturer,Model,TotalPhysicalMemory);"
    "npus=@(Get-CimInstance Win32_PnPEntity -Filter \"PNPClass='ComputeAccelerator'\"|Select-Object Name)"
    "}|ConvertTo-Json -Depth 4 -Compress"
)
SHELLS = ("powershell", "pwsh")
# AdapterRAM has 32 bits: from here on it says only "at least so much".
LARGEST_ADAPTER_RAM = 0xFFF00000
# Windows lets a GPU take half of the system's memory besides its own (WDDM's shared GPU memory).
SHARED_FRACTION = 0.5
VIRTUAL_MODELS = re.compile(
    r"virtual machine|virtualbox|vmware|\bkvm\b|qemu|hvm domu|parallels|amazon ec2|google compute", re.IGNORECASE
)


class Told(NamedTuple):
    """CIM's answer by class, and what was wrong with it."""

    classes: Mapping[str, list[dict[str, Any]]]
    fault: str = ""

    def of(self, name: str) -> list[dict[str, Any]]:
        """The objects of one class."""
        return self.classes.get(name, [])


def ask_cim(edge: Edge) -> Told:
    """All questions to CIM in one PowerShell, which takes a second to start."""
    for shell in SHELLS:
        command = [shell, "-NoProfile", "-NonInteractive", "-Command", SCRIPT]
        answer = edge.json(command)
        if isinstance(answer, dict):
            return Told({str(name): records(value) for name, value in answer.items()})
        if edge.run(command):
            return Told({}, f"{shell}'s answer cannot be read: the modules' speed is not known")
    return Told({}, "PowerShell does not answer: the modules' speed is not known")


def windows(edge: Edge) -> Machine:
    """The machine without its accelerators; what none tells stays open."""
    told = ask_cim(edge)
    named = edge.registry(PROCESSORS)
    first = next(iter(told.of("cpu")), {})
    entry = named.get("0", {})
    cpu = " ".join(str(first.get("Name") or entry.get("ProcessorNameString") or "").split())
    identifier = re.search(r"Family (\d+) Model (\d+)", str(entry.get("Identifier", "")))
    counted_cores, counted_threads = edge.processors()
    cores = _sum(told, "NumberOfCores") or counted_cores
    threads = _sum(told, "NumberOfLogicalProcessors") or counted_threads
    total, free = edge.memory()
    system = next(iter(told.of("system")), {})
    memory = agree(
        "memory", [Reading("psutil", total), Reading("CIM", whole_number(system.get("TotalPhysicalMemory")))]
    )
    installed = from_cim(told.of("modules"))
    product = f"{system.get('Manufacturer') or ''} {system.get('Model') or ''}".strip()
    return Machine(
        os="Windows",
        cpu=cpu,
        cpu_vendor=str(entry.get("VendorIdentifier") or first.get("Manufacturer") or ""),
        cpu_family=int(identifier[1]) if identifier else None,
        cpu_model=int(identifier[2]) if identifier else None,
        sockets=len(told.of("cpu")) or 1,
        cores=cores,
        threads=threads,
        usable_cores=float(counted_threads or threads or 1),
        cache_bytes=_sum(told, "L3CacheSize") * KIB or None,
        memory_bytes=memory.size_bytes,
        physical_memory_bytes=memory.size_bytes,
        available_bytes=free,
        mem_channels=installed.channels,
        mem_mts=installed.mts,
        mem_modules=installed.modules,
        mem_type=installed.kind,
        product=product,
        virtual=bool(VIRTUAL_MODELS.search(product)),
        npus=tuple(dict.fromkeys(str(one["Name"]) for one in told.of("npus") if one.get("Name"))),
        evidence=tuple(_evidence(cpu, bool(first.get("Name")), memory.size_bytes, memory.source, installed)),
        doubts=tuple(filter(None, [memory.contradiction, told.fault])),
    )


def _sum(told: Told, name: str) -> int:
    """A figure of all sockets together, 0 where none tells it."""
    return sum(whole_number(one.get(name)) or 0 for one in told.of("cpu"))


def _evidence(cpu: str, by_cim: bool, memory_bytes: int | None, memory_by: str, installed: Any) -> Iterator[Evidence]:
    if cpu:
        yield Evidence("CPU", cpu, "CIM Win32_Processor" if by_cim else "registry")
    if memory_bytes:
        yield Evidence("memory", f"{memory_bytes / GIB:.4g} GiB", memory_by)
    if installed != NOTHING_TOLD:
        yield Evidence("memory modules", f"{installed.modules} at {installed.mts} MT/s", "CIM Win32_PhysicalMemory")


def adapters(edge: Edge, machine: Machine) -> tuple[dict[str, list[Card]], list[str]]:
    """The graphics adapters of each maker, with their true memory; what Windows itself makes up is left out.

    CIM lists what is there now; the registry keeps cards that were taken out, so it alone is the second choice.
    """
    told = ask_cim(edge)
    keys = [values for values in edge.registry(ADAPTERS).values() if values.get("DriverDesc")]
    present = [(str(one.get("Name") or ""), str(one.get("PNPDeviceID") or ""), one) for one in told.of("gpus")]
    doubts: list[str] = []
    if not present:
        present = [(str(one["DriverDesc"]), str(one.get("MatchingDeviceId") or ""), dict(one)) for one in keys]
        if len(present) > 1:
            doubts.append("adapters are the registry's, which remembers cards that were taken out")
    found: dict[str, list[Card]] = {}
    used: list[Mapping[str, object]] = []
    for name, device_id, told_by in present:
        entry = _entry(name, device_id, [key for key in keys if not any(key is one for one in used)])
        used.extend([entry] if entry else [])
        gpu, doubt = _adapter(name, device_id, told_by, entry, machine)
        doubts.extend([doubt] if doubt else [])
        if gpu is not None:
            found.setdefault(gpu.vendor, []).append(Card(gpu))
    return found, doubts


def _entry(name: str, device_id: str, keys: list[Mapping[str, object]]) -> Mapping[str, object]:
    """The registry's key of an adapter: the same PCI id, else the same name."""
    ids = ids_of(device_id)[:2]
    for key in keys:
        if all(ids) and ids_of(str(key.get("MatchingDeviceId", "")))[:2] == ids:
            return key
    return next((key for key in keys if key.get("DriverDesc") == name), {})


def _adapter(
    name: str, device_id: str, told: Mapping[str, object], entry: Mapping[str, object], machine: Machine
) -> tuple[Gpu | None, str]:
    """An adapter with its memory, and a doubt about it; None for what no known maker sells."""
    vendor_id, device, revision = ids_of(device_id)
    vendor = VENDORS.get(vendor_id) or ("qualcomm" if "adreno" in name.casefold() else "")
    if not vendor:
        return None, ""
    known = find_pci(vendor_id, device, revision)
    integrated = known.integrated if known else is_integrated_name(name)
    size, doubt = _size(name, told, entry, integrated)
    shared = int((machine.physical_memory_bytes or 0) * SHARED_FRACTION) or None
    gpu = Gpu(
        name=name or (known.name if known else f"GPU {vendor_id}:{device}"),
        vendor=vendor,
        memory_bytes=size,
        shared_memory_bytes=shared if integrated else None,
        driver=str(told.get("DriverVersion") or entry.get("DriverVersion") or ""),
        integrated=integrated,
        pci_id=f"{vendor_id}:{device}" if vendor_id else "",
        told_by="CIM and registry"
        if entry and "PNPDeviceID" in told
        else "CIM"
        if "PNPDeviceID" in told
        else "registry",
    )
    if known and known.name.casefold() != name.casefold() and _generic(name):
        gpu = replace(gpu, name=known.name)
    return gpu, doubt


def _generic(name: str) -> bool:
    """Whether a name fits many parts: the PCI id says more. Windows' own driver is called so in every language."""
    return bool(re.fullmatch(r"(?:AMD |Intel )?(?:Radeon )?Graphics|.*Microsoft.*", re.sub(r"\((?:R|TM)\)", "", name)))


def _size(
    name: str, told: Mapping[str, object], entry: Mapping[str, object], integrated: bool
) -> tuple[int | None, str]:
    """Memory: the registry's 64-bit figure, else its 32-bit one, else CIM's, which stops short of 4 GiB.

    Of a GPU in the processor only the first is its carve-out; the others add what it may share.
    """
    by_cim = whole_number(told.get("AdapterRAM"))
    capped = by_cim is None or by_cim % 2**32 >= LARGEST_ADAPTER_RAM
    whole = _stored(entry.get("HardwareInformation.qwMemorySize"))
    readings = [Reading("the registry (qwMemorySize)", whole)]
    if integrated:
        return whole, ""
    if whole is None or whole < LARGEST_ADAPTER_RAM:  # of a larger card the 32-bit figures say nothing
        short = _whole_only(_stored(entry.get("HardwareInformation.MemorySize")))
        readings.append(Reading("the registry (MemorySize)", short))
        readings.append(Reading("CIM (AdapterRAM)", None if capped else by_cim))
    agreed = agree(f"memory of {name}", readings)
    return agreed.size_bytes, agreed.contradiction


def _whole_only(size_bytes: int | None) -> int | None:
    """The 32-bit figure counts only below its cap."""
    return size_bytes if size_bytes and size_bytes < LARGEST_ADAPTER_RAM else None


def _stored(value: object) -> int | None:
    """A number of the registry: REG_QWORD and REG_DWORD are numbers, some drivers write REG_BINARY, low byte first."""
    if isinstance(value, bytes):
        return int.from_bytes(value[:8], "little") or None
    return whole_number(value) or None
