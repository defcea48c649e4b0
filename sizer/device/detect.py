"""This machine as a record, and as the target of an estimate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sizer.device import detect_cpu, detect_gpu, measured
from sizer.device.chip_parts import UNIFIED_KINDS
from sizer.device.clouds import find_alias
from sizer.device.cpu_generations import find_family
from sizer.device.interconnect import Link, between_devices, pcie, to_host
from sizer.device.local_ratios import recall
from sizer.device.lookup import BYTES_PER_TRANSFER, MEMORY_TOLERANCE, Found, find_row
from sizer.device.machine import Edge, Gpu, Machine
from sizer.device.records import Device, Target
from sizer.device.slices import take_slice
from sizer.errors import UnknownDevice
from sizer.tables import read_rows
from sizer.units import GB, GIB


def detect(edge: Edge | None = None) -> Machine:
    """What this machine is, as a program in its container sees it. Never raises: what cannot be read stays open."""
    edge = edge or Edge()
    if edge.system == "Linux":
        machine = detect_cpu.linux(edge)
    elif edge.system == "Darwin":
        machine = detect_cpu.mac(edge)
    else:
        machine = detect_cpu.other(edge)
    gpus = (*detect_gpu.nvidia(edge), *(detect_gpu.drm(edge) if edge.system == "Linux" else ()))
    if machine.unified_memory:
        gpus = detect_gpu.apple(edge, machine.cpu, machine.memory_bytes)
    unified = machine.unified_memory or any(_row_kind(gpu) in UNIFIED_KINDS for gpu in gpus)
    return replace(machine, architecture=_architecture(), gpus=gpus, unified_memory=unified)


def _architecture() -> str:
    import platform

    return platform.machine()


def _row_kind(gpu: Gpu) -> str:
    found = _look_up(gpu.name, gpu)
    return found.device.kind if found else ""


def this_target(part: str = "", machine: Machine | None = None) -> Target:
    """This machine as a target: its accelerators if it has any, else its CPU; `part` asks for `cpu` or `gpu`.

    Bandwidth is the table's for a known accelerator, bus width x memory clock for an unknown NVIDIA part; for a CPU the
    probe's where it has run, else the installed modules', else the table's or its family's, else None with what to do.
    Raises UnknownDevice where a GPU is asked for and none is seen.
    """
    machine = machine or detect()
    host = host_device(machine)
    if part == "gpu" and not machine.gpus:
        raise UnknownDevice("'gpu': no accelerator is seen on this machine.", "'sizer probe' shows what is.")
    found = [_accelerator(gpu, machine) for gpu in machine.gpus] if part != "cpu" else []
    if not found:
        return _on_cpu(host, machine)
    counts = Counter(one.device for one in found)
    first, *others = counts
    link = between_devices(first) if counts[first] > 1 or others else None
    host_link = _host_link(first, machine)
    return Target(
        device=first,
        count=counts[first],
        asked="this",
        link=link.name if link else "",
        link_bytes_per_s=link.bytes_per_s if link else None,
        host=host.device,
        host_count=machine.sockets,
        host_memory_bytes=machine.memory_bytes,
        others=tuple(device for device in others for _ in range(counts[device])),
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)),
        host_link=host_link.name if host_link else "",
        host_link_bytes_per_s=host_link.bytes_per_s if host_link else None,
        local_ratios=recall(machine),
    )


def _host_link(device: Device, machine: Machine) -> Link | None:
    """The slot as negotiated where the driver tells it (many cards sit in x4 slots), else as specified."""
    gpu = machine.gpus[0]
    link = to_host(device)
    if link and link.name.startswith("PCIe") and gpu.pcie_generation and gpu.pcie_lanes:
        return pcie(f"{gpu.pcie_generation}.0 x{gpu.pcie_lanes}") or link
    return link


def _on_cpu(host: Found, machine: Machine) -> Target:
    device = replace(host.device, memory_bytes=machine.memory_bytes, cores=_usable_cores(machine))
    return Target(
        device=device,
        count=1,
        asked="this",
        host=device,
        host_count=machine.sockets,
        host_memory_bytes=machine.memory_bytes,
        notes=host.notes,
        local_ratios=recall(machine),
    )


def _usable_cores(machine: Machine) -> int | None:
    """Physical cores, less what affinity and the container's quota take away."""
    limits = [machine.cores, machine.usable_cores]
    known = [limit for limit in limits if limit]
    return max(1, int(min(known))) if known else None


def _accelerator(gpu: Gpu, machine: Machine) -> Found:
    """The device of one GPU: by its name and memory, with what the driver says of it."""
    if gpu.mig_profile:
        slice_of = take_slice(f"{gpu.name} MIG {gpu.mig_profile}", find_row)
        if slice_of:
            return _as_seen(slice_of, gpu, machine)
    die = take_slice(f"{gpu.name} (1 GCD)", find_row) if gpu.vendor == "amd" else None
    if die and gpu.memory_bytes and die.device.memory_bytes and gpu.memory_bytes < 1.1 * die.device.memory_bytes:
        return _as_seen(die, gpu, machine)  # the driver shows each die of such a board as a device
    size = f" {gpu.memory_bytes / GIB:.0f}GB" if gpu.memory_bytes else ""
    cores = f" {gpu.cores}-core GPU" if gpu.cores and gpu.vendor == "apple" else ""
    for text in (f"{gpu.name}{cores}{size}", f"{gpu.name}{cores}", gpu.name, machine.product):
        found = _look_up(text, gpu) if text else None
        if found and found.device.kind != "cpu":
            return _as_seen(found, gpu, machine)
    return Found(_unlisted(gpu), (_unlisted_note(gpu),))


def _look_up(text: str, gpu: Gpu) -> Found | None:
    """A row by name, or by what the name stands for (a gfx id covers several cards: the memory must agree)."""
    alias = find_alias(text)
    found = find_row(alias[0] if alias else text, gpu.clock_bytes_per_s)
    if found and alias and found.device.kind not in UNIFIED_KINDS:
        sizes = (found.device.memory_bytes or 0, gpu.memory_bytes or 0)
        return found if min(sizes) >= (1 - MEMORY_TOLERANCE) * max(sizes) else None
    return found


def _as_seen(found: Found, gpu: Gpu, machine: Machine) -> Found:
    """The table's device with the memory that this one has."""
    device, notes = found.device, [note for note in found.notes if "the largest is assumed" not in note]
    memory_bytes = gpu.memory_bytes
    if device.kind in UNIFIED_KINDS:
        taken = (gpu.memory_bytes or 0) + (gpu.shared_memory_bytes or 0)
        limits = [size for size in (machine.memory_bytes, taken) if size]
        memory_bytes = min(limits) if gpu.vendor == "amd" and limits else machine.memory_bytes
    if machine.wired_limit_bytes and device.kind == "apple":
        device = replace(device, memory_limit_bytes=machine.wired_limit_bytes)
        notes.append(
            f"the GPU's memory limit is set to {machine.wired_limit_bytes / GIB:.4g} GiB (iogpu.wired_limit_mb)"
        )
    if memory_bytes:
        device = replace(device, memory_bytes=memory_bytes, memory_options_bytes=())
        if device.kind not in UNIFIED_KINDS:
            device = replace(device, memory_basis="driver")
    return Found(device, tuple(notes))


def _unlisted(gpu: Gpu) -> Device:
    """A part that the table does not have, by what its driver says."""
    return Device(
        key="-".join(gpu.name.casefold().split()),
        name=gpu.name,
        vendor=gpu.vendor,
        kind="gpu",
        memory_bytes=gpu.memory_bytes,
        bandwidth_bytes_per_s=gpu.clock_bytes_per_s,
        bandwidth_basis="clock" if gpu.clock_bytes_per_s else "",
        pcie=f"{gpu.pcie_generation}.0 x{gpu.pcie_lanes}" if gpu.pcie_generation and gpu.pcie_lanes else "",
        source="the driver",
    )


def _unlisted_note(gpu: Gpu) -> str:
    if gpu.clock_bytes_per_s:
        rate = f"{gpu.clock_bytes_per_s / GB:.4g} GB/s"
        return f"{gpu.name!r} is not in the table: bandwidth {rate} is bus width x memory clock; compute is not known"
    return f"{gpu.name!r} is not in the table: --bandwidth and --flops describe it, 'sizer probe' measures it"


def host_device(machine: Machine) -> Found:
    """The CPU as a device: its row or its family, with the bandwidth that is best known here."""
    found = _cpu_row(machine)
    if found is None:
        blank = Device("this-cpu", machine.cpu or "unknown CPU", "", "cpu", None, None, source="this machine")
        found = Found(blank, (f"{blank.name!r} is not in the table: its compute is not known",))
    device = found.device
    if device.kind != "cpu":
        # A chip with unified memory (laptop, board) whose GPU is not used: its CPU computes, out of the same memory.
        device = replace(device, kind="cpu", peak_flops_per_s={})
    device = replace(
        device, name=machine.cpu or device.name, memory_bytes=machine.memory_bytes, memory_options_bytes=()
    )
    return _with_bandwidth(Found(device, found.notes), machine)


def _cpu_row(machine: Machine) -> Found | None:
    found = find_row(machine.cpu) or find_row(machine.product) or find_family(machine.cpu)
    if found and found.device.kind not in {"gpu", "npu", "tpu"}:
        notes = tuple(note for note in found.notes if "the largest is assumed" not in note)
        return found._replace(notes=notes)
    for row in read_rows("cpu_models.csv"):
        same = (row["vendor"], row["family"]) == (machine.cpu_vendor, str(machine.cpu_family))
        if same and int(row["first_model"]) <= (machine.cpu_model or 0) <= int(row["last_model"]):
            return find_family(row["name"])  # the name hides the part, its model number tells the generation
    return None


def _with_bandwidth(found: Found, machine: Machine) -> Found:
    device, notes = found.device, list(found.notes)
    cached = measured.load(machine)
    if cached.measurement:
        rate: float | None = cached.measurement.bytes_per_s
        basis, note = "measured", f"memory bandwidth measured here {cached.measurement.age}: {cached.measurement.shown}"
        notes.extend(f"at the measurement, {said}" for said in cached.measurement.notes)
    elif machine.mem_channels and machine.mem_mts and not machine.virtual:
        rate = machine.mem_channels / machine.sockets * machine.mem_mts * 1e6 * BYTES_PER_TRANSFER
        basis, note = "modules", f"{machine.mem_channels} memory channels at {machine.mem_mts} MT/s are installed"
    else:
        rate, basis = device.bandwidth_bytes_per_s, device.bandwidth_basis
        advice = "'sizer probe' measures it here" + (
            ", a virtual machine's share may be less" if machine.virtual else ""
        )
        note = f"memory bandwidth is the specification's: {advice}" if rate else f"memory bandwidth unknown: {advice}"
    notes.extend([note, *cached.notes])
    return Found(replace(device, bandwidth_bytes_per_s=rate, bandwidth_basis=basis), tuple(notes))
