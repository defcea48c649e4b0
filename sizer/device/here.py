"""This machine as the target of an estimate: which of its parts compute, and the bandwidth that is best known here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from sizer.device import measured
from sizer.device.chip_parts import UNIFIED_KINDS
from sizer.device.clouds import find_alias
from sizer.device.cpu_generations import find_family
from sizer.device.interconnect import Link, between_devices, pcie, to_host
from sizer.device.local_ratios import recall
from sizer.device.lookup import BYTES_PER_TRANSFER, MEMORY_TOLERANCE, Found, find_row, without_sizes_note
from sizer.device.machine import Gpu, Machine
from sizer.device.naming import slug
from sizer.device.records import Device, Target
from sizer.device.slices import take_slice, virtual_card
from sizer.errors import UnknownDevice
from sizer.tables import read_rows
from sizer.units import GB, GIB


def target_of(machine: Machine, part: str = "") -> Target:
    """A machine as a target: its accelerators if it has any, else its CPU; `part` asks for `cpu` or `gpu`.

    Bandwidth is the table's for a known accelerator, bus width x memory clock for an unknown NVIDIA part; for a CPU the
    probe's where it has run, else the installed modules', else the table's or its family's, else None with what to do.
    A GPU inside the processor counts where the table has the chip as one that computes (a Ryzen AI Max, an Arc of a
    Core Ultra), and only where no card is there. Raises UnknownDevice where a GPU is asked for and none is seen.
    """
    host = host_device(machine)
    used, left = computing(machine)
    if part == "gpu" and not used:
        hidden = f" ({'; '.join(machine.hidden)})" if machine.hidden else ""
        raise UnknownDevice(f"'gpu': no accelerator is seen on this machine{hidden}.", "'sizer probe' shows what is.")
    aside = tuple(f"{gpu.name} in the processor is not counted: its CPU computes" for gpu in left)
    remarks = tuple(_remarks(machine))
    found = [_accelerator(gpu, machine) for gpu in used] if part != "cpu" else []
    if not found:
        return _on_cpu(host, machine, (*aside, *remarks) if part != "cpu" and not used else ())
    counts = Counter(one.device for one in found)
    first, *others = counts
    link = between_devices(first) if counts[first] > 1 or others else None
    host_link = _host_link(first, used[0])
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
        notes=tuple(dict.fromkeys((*(note for one in found for note in one.notes), *remarks))),
        host_link=host_link.name if host_link else "",
        host_link_bytes_per_s=host_link.bytes_per_s if host_link else None,
        local_ratios=recall(machine),
    )


def computing(machine: Machine) -> tuple[tuple[Gpu, ...], tuple[Gpu, ...]]:
    """The accelerators that a model would run on, and the integrated ones that are left aside."""
    cards = tuple(gpu for gpu in machine.gpus if not gpu.integrated)
    on_chip = tuple(gpu for gpu in machine.gpus if gpu.integrated)
    if cards:
        return cards, on_chip
    used = tuple(gpu for gpu in on_chip if row_of_gpu(gpu, machine) is not None)
    return used[:1], tuple(gpu for gpu in on_chip if gpu not in used[:1])


def _host_link(device: Device, gpu: Gpu) -> Link | None:
    """The slot as negotiated where the driver tells it (many cards sit in x4 slots), else as specified."""
    link = to_host(device)
    if link and link.name.startswith("PCIe") and gpu.pcie_generation and gpu.pcie_lanes:
        return pcie(f"{gpu.pcie_generation}.0 x{gpu.pcie_lanes}") or link
    return link


def _remarks(machine: Machine) -> Iterator[str]:
    """What is to be known of the whole machine: what is hidden, and what slows it."""
    yield from machine.hidden
    if machine.low_power:
        yield "the machine is in its low-power mode: it runs slower than estimated until that is switched off"


def _on_cpu(host: Found, machine: Machine, remarks: tuple[str, ...]) -> Target:
    device = replace(host.device, memory_bytes=machine.memory_bytes, cores=_usable_cores(machine))
    return Target(
        device=device,
        count=1,
        asked="this",
        host=device,
        host_count=machine.sockets,
        host_memory_bytes=machine.memory_bytes,
        notes=(*host.notes, *remarks),
        local_ratios=recall(machine),
    )


def _usable_cores(machine: Machine) -> int | None:
    """Physical cores, less what affinity and the container's quota take away."""
    limits = [machine.cores, machine.usable_cores]
    known = [limit for limit in limits if limit]
    return max(1, int(min(known))) if known else None


def row_of_gpu(gpu: Gpu, machine: Machine) -> Found | None:
    """The row of one accelerator: a slice of it, a die, the chip that it is part of, or its name and memory."""
    if gpu.mig_profile:
        part = take_slice(f"{gpu.name} MIG {gpu.mig_profile}", find_row)
        if part:
            return part
    shared = virtual_card(gpu.name, find_row)
    if shared:
        return shared
    die = take_slice(f"{gpu.name} (1 GCD)", find_row) if gpu.vendor == "amd" else None
    # The driver shows each die of such a board as a device.
    if die and gpu.memory_bytes and die.device.memory_bytes and gpu.memory_bytes < 1.1 * die.device.memory_bytes:
        return die
    for text in _names(gpu, machine):
        found = _look_up(text, gpu) or (find_family(text) if gpu.integrated else None)
        if found and found.device.kind != "cpu" and (not gpu.integrated or found.device.kind in UNIFIED_KINDS):
            return found
    return None


def _names(gpu: Gpu, machine: Machine) -> tuple[str, ...]:
    """What may name the accelerator in the table: a GPU inside the processor goes by the processor's name."""
    if gpu.integrated or "jetson" in machine.product.casefold():
        return tuple(
            filter(None, (_told_apart(machine.product, machine), machine.cpu, gpu.compute_capability, gpu.name))
        )
    size = f" {gpu.memory_bytes / GIB:.0f}GB" if gpu.memory_bytes else ""
    cores = f" {gpu.cores}-core GPU" if gpu.cores and gpu.vendor == "apple" else ""
    product = machine.product if gpu.vendor in {"nvidia", "apple"} else ""
    names = (f"{gpu.name}{cores}{size}", f"{gpu.name}{cores}", gpu.name, product, gpu.compute_capability)
    return tuple(name for name in names if name)


def _told_apart(product: str, machine: Machine) -> str:
    """A board's name with the nearest memory that its modules are sold with: `Jetson AGX Orin` is 32 or 64 GB."""
    total = (machine.physical_memory_bytes or 0) / GIB
    # Firmware and carve-outs keep up to a fifth of what is sold.
    sizes = [size for size in (4, 8, 16, 32, 64, 128) if 0.8 * size < total <= size]
    return f"{product} {sizes[0]}GB" if "jetson" in product.casefold() and sizes else product


def _accelerator(gpu: Gpu, machine: Machine) -> Found:
    """The device of one accelerator: its row with what the driver says of it, else what the driver says alone."""
    found = row_of_gpu(gpu, machine)
    return _as_seen(found, gpu, machine) if found else Found(_unlisted(gpu), (_unlisted_note(gpu),))


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
    device, notes = found.device, list(without_sizes_note(found.notes, found.device))
    memory_bytes = gpu.memory_bytes
    if device.kind in UNIFIED_KINDS:
        own = (gpu.memory_bytes or 0) if gpu.vendor != device.kind and device.kind == "apu" else 0
        memory_bytes = machine.memory_bytes + own if machine.memory_bytes else memory_bytes
        rate, note = _modules_rate(device, machine)
        if rate and device.kind == "apu":
            device = replace(device, bandwidth_bytes_per_s=rate, bandwidth_basis="modules")
            notes.append(note)
        if gpu.shared_memory_bytes is not None and memory_bytes:
            whole, memory_bytes = memory_bytes, min(own + gpu.shared_memory_bytes, memory_bytes)
            device = replace(device, memory_basis="driver", memory_limit_bytes=memory_bytes)
            of_all = f"{memory_bytes / GIB:.4g} of {whole / GIB:.4g} GiB"
            notes.append(f"its GPU may take {of_all} of the memory, as the driver says")
    if machine.wired_limit_bytes and device.kind == "apple":
        device = replace(device, memory_limit_bytes=machine.wired_limit_bytes)
        notes.append(
            f"the GPU's memory limit is set to {machine.wired_limit_bytes / GIB:.4g} GiB (iogpu.wired_limit_mb)"
        )
    if memory_bytes:
        device = replace(device, memory_bytes=memory_bytes, memory_options_bytes=())
        if device.kind not in UNIFIED_KINDS or device.vendor not in {"apple", "amd"}:
            # Of a Mac's memory and of an APU's whose driver tells no share, only a part is the GPU's.
            device = replace(device, memory_basis="driver")
    return Found(device, tuple(notes))


def _unlisted(gpu: Gpu) -> Device:
    """A part that the table does not have, by what its driver says."""
    return Device(
        key=slug(gpu.name),
        name=gpu.name,
        vendor=gpu.vendor,
        kind=gpu.kind,
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
        name = machine.cpu or "unknown CPU"
        blank = Device(slug(name), name, "", "cpu", None, None, source="this machine")
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
    board = find_row(_told_apart(machine.product, machine))
    named = board if board and board.device.kind == "sbc" else find_row(machine.cpu) or board
    found = named or find_family(machine.cpu)
    if found and found.device.kind not in {"gpu", "npu", "tpu"}:
        return found._replace(notes=without_sizes_note(found.notes, found.device))
    for row in read_rows("cpu_models.csv"):
        same = (row["vendor"], row["family"]) == (machine.cpu_vendor, str(machine.cpu_family))
        if same and int(row["first_model"]) <= (machine.cpu_model or 0) <= int(row["last_model"]):
            return find_family(row["name"])  # the name hides the part, its model number tells the generation
    return None


def installed_channels(machine: Machine, device: Device) -> float | None:
    """Channels of one socket that modules fill: as their slots name them, else no more than there are modules.

    The processor's own number is the most that there can be; soldered memory fills it.
    """
    most = float(device.mem_channels) if device.mem_channels else None
    if machine.mem_channels:
        return min(machine.mem_channels / machine.sockets, most or machine.mem_channels)
    if machine.mem_modules and most:
        return most if "LPDDR" in machine.mem_type else min(most, machine.mem_modules / machine.sockets)
    return None


def _modules_rate(device: Device, machine: Machine) -> tuple[float | None, str]:
    """Bandwidth of a socket by the modules that are installed, and what they are; a virtual machine's are made up."""
    channels = installed_channels(machine, device)
    if not channels or not machine.mem_mts or machine.virtual:
        return None, ""
    number = f"{channels * machine.sockets:g} memory channels"
    return channels * machine.mem_mts * 1e6 * BYTES_PER_TRANSFER, f"{number} at {machine.mem_mts} MT/s are installed"


def _with_bandwidth(found: Found, machine: Machine) -> Found:
    device, notes = found.device, list(found.notes)
    cached = measured.load(machine)
    installed, told = _modules_rate(device, machine)
    if cached.measurement:
        rate: float | None = cached.measurement.bytes_per_s
        basis, note = "measured", f"memory bandwidth measured here {cached.measurement.age}: {cached.measurement.shown}"
        notes.extend(f"at the measurement, {said}" for said in cached.measurement.notes)
    elif installed:
        rate, basis, note = installed, "modules", told
    else:
        rate, basis = device.bandwidth_bytes_per_s, device.bandwidth_basis
        advice = "'sizer probe' measures it here" + (
            ", a virtual machine's share may be less" if machine.virtual else ""
        )
        note = f"memory bandwidth is the specification's: {advice}" if rate else f"memory bandwidth unknown: {advice}"
    notes.extend([note, *cached.notes])
    return Found(replace(device, bandwidth_bytes_per_s=rate, bandwidth_basis=basis), tuple(notes))
