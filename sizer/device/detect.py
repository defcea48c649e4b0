"""This machine as a record: processor, memory and accelerators, by whatever tells them on its system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sizer.device.chip_parts import UNIFIED_KINDS
from sizer.device.detect_cpu import linux
from sizer.device.detect_drm import drm
from sizer.device.detect_mac import mac
from sizer.device.detect_npu import accelerators
from sizer.device.detect_nvidia import nvidia
from sizer.device.detect_windows import adapters, windows
from sizer.device.edge import Edge
from sizer.device.evidence import MEMORY_AGREEMENT, Evidence, Reading, agree, plausible
from sizer.device.here import row_of_gpu, target_of
from sizer.device.machine import Gpu, Machine
from sizer.device.pci import find_pci
from sizer.device.records import Target
from sizer.device.visible import Card, visible
from sizer.units import GIB

NVIDIA_PCI, DISPLAY_CLASS = "0x10de", "0x03"


def detect(edge: Edge | None = None) -> Machine:
    """What this machine is, as a program in its container sees it. Never raises: what cannot be read stays open."""
    edge = edge or Edge()
    if edge.system == "Darwin":
        machine = mac(edge)
    elif edge.system == "Windows":
        machine = _with_cards(edge, windows(edge))
    elif edge.system == "Linux":
        machine = _with_cards(edge, linux(edge))
    else:
        machine = _other(edge)
    machine = _without_gpu_nodes(_with_plausible_sizes(machine))
    unified = machine.unified_memory or any(_is_unified(gpu, machine) for gpu in machine.gpus)
    return replace(machine, architecture=edge.architecture, unified_memory=unified)


def _with_plausible_sizes(machine: Machine) -> Machine:
    """The machine without the sizes that no memory has: whatever told them, they are not known."""
    gpus = tuple(
        replace(
            gpu,
            memory_bytes=plausible(gpu.memory_bytes),
            free_memory_bytes=plausible(gpu.free_memory_bytes),
            shared_memory_bytes=plausible(gpu.shared_memory_bytes),
        )
        for gpu in machine.gpus
    )
    return replace(
        machine,
        gpus=gpus,
        memory_bytes=plausible(machine.memory_bytes),
        physical_memory_bytes=plausible(machine.physical_memory_bytes),
        available_bytes=plausible(machine.available_bytes),
    )


def _without_gpu_nodes(machine: Machine) -> Machine:
    """The machine without the memory of GPUs that its kernel counts as its own (Grace Hopper: a node without CPUs)."""
    left = list(machine.memory_only_nodes_bytes)
    counted = 0
    for gpu in machine.gpus:
        size = gpu.memory_bytes or 0
        node = next((one for one in left if size and min(one, size) >= (1 - MEMORY_AGREEMENT) * max(one, size)), None)
        if node is not None:
            left.remove(node)
            counted += node
    if not counted or machine.memory_bytes is None or machine.physical_memory_bytes is None:
        return machine
    whole = machine.physical_memory_bytes - counted
    return replace(machine, physical_memory_bytes=whole, memory_bytes=min(machine.memory_bytes, whole))


def this_target(part: str = "", machine: Machine | None = None) -> Target:
    """This machine as a target: its accelerators if it has any, else its CPU; `part` asks for `cpu` or `gpu`.

    Raises UnknownDevice where a GPU is asked for and none is seen.
    """
    return target_of(machine or detect(), part)


def _is_unified(gpu: Gpu, machine: Machine) -> bool:
    found = row_of_gpu(gpu, machine)
    return found is not None and found.device.kind in UNIFIED_KINDS


def _other(edge: Edge) -> Machine:
    """BSD and the rest: what psutil counts, and NVIDIA's cards."""
    cores, threads = edge.processors()
    total, free = edge.memory()
    machine = Machine(
        os=edge.system,
        cpu=edge.run(["sysctl", "-n", "hw.model"]).strip(),
        cores=cores,
        threads=threads,
        usable_cores=float(threads or 1),
        memory_bytes=total,
        physical_memory_bytes=total,
        available_bytes=free,
    )
    return _shown(edge, machine, {"nvidia": nvidia(edge)}, [])


def _with_cards(edge: Edge, machine: Machine) -> Machine:
    """The machine with every maker's accelerators, NVIDIA's first."""
    cards = {"nvidia": nvidia(edge)}
    if machine.os == "Windows":
        others, doubts = adapters(edge, machine)
        by_system = others.pop("nvidia", [])
        doubts = [*doubts, *_compared(cards["nvidia"], by_system)]
        cards = {"nvidia": cards["nvidia"] or by_system, **others}
    else:
        others, doubts = drm(edge)
        cards |= {**others, **accelerators(edge)}
        doubts = [*doubts, *(_silent(edge) if not cards["nvidia"] else ())]
    return _shown(edge, machine, cards, doubts)


def _compared(cards: list[Card], by_system: list[Card]) -> Iterator[str]:
    """Where NVIDIA's library and the system differ on a card of one name."""
    for card in cards:
        name = card.gpu.name.casefold()
        same = next((one.gpu for one in by_system if one.gpu.name.casefold() == name), None)
        told = same.memory_bytes if same else None
        agreed = agree(
            f"memory of {card.gpu.name}", [Reading("NVML", card.gpu.memory_bytes), Reading("the registry", told)]
        )
        if agreed.contradiction:
            yield agreed.contradiction


def _silent(edge: Edge) -> Iterator[str]:
    """NVIDIA cards on the bus whose driver does not answer."""
    for path in edge.glob("/sys/bus/pci/devices/*"):
        base = f"/sys/bus/pci/devices/{path.name}"
        if edge.read(f"{base}/vendor") == NVIDIA_PCI and edge.read(f"{base}/class").startswith(DISPLAY_CLASS):
            known = find_pci(NVIDIA_PCI, edge.read(f"{base}/device"))
            name = known.name if known else f"an NVIDIA GPU ({edge.read(f'{base}/device')})"
            yield (
                f"{name} is on the PCI bus, but NVIDIA's driver does not answer: install it, or give the container "
                "its GPUs (docker run --gpus all)"
            )


def _shown(edge: Edge, machine: Machine, cards: dict[str, list[Card]], doubts: list[str]) -> Machine:
    """The machine with the accelerators that the environment lets through."""
    gpus: list[Gpu] = []
    hidden: list[str] = []
    for maker, found in cards.items():
        seen, hiding = visible(found, maker, edge.environment)
        gpus.extend(seen)
        hidden.extend([f"{maker}: {hiding}"] if hiding else [])
    return replace(
        machine,
        gpus=(*machine.gpus, *_without_servers(gpus)),
        hidden=tuple(hidden),
        evidence=(*machine.evidence, *(_told(gpu) for gpu in gpus)),
        doubts=(*machine.doubts, *doubts),
    )


def _without_servers(gpus: list[Gpu]) -> list[Gpu]:
    """Without what servers draw their console with: such chips are named after no GPU that computes."""
    return [gpu for gpu in gpus if not re.search(r"\b(?:ES1000|AST2\d00|G200e)", gpu.name)]


def _told(gpu: Gpu) -> Evidence:
    size = f", {gpu.memory_bytes / GIB:.4g} GiB" if gpu.memory_bytes else ""
    return Evidence("GPU" if gpu.kind == "gpu" else gpu.kind.upper(), f"{gpu.name}{size}", gpu.told_by)
