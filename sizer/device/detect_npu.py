"""Accelerators that are no GPUs: Ascend, Gaudi, TPU, Trainium and Inferentia, by their tools and their PCI ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from sizer.device.edge import Edge, records, whole_number
from sizer.device.machine import Gpu
from sizer.device.pci import find_pci
from sizer.device.visible import Card
from sizer.units import MIB

HL_SMI = ["hl-smi", "-Q", "name,memory.total", "-f", "csv,noheader"]
GAUDI_PARTS = {"HL-205": "Gaudi", "HL-225": "Gaudi 2", "HL-288": "Gaudi 2", "HL-325": "Gaudi 3", "HL-328": "Gaudi 3",
               "HL-335": "Gaudi 3", "HL-338": "Gaudi 3"}  # fmt: skip
# Accelerators whose PCI id tells the part: vendor -> maker and kind.
BY_PCI = {"0x1ae0": ("google", "tpu"), "0x1da3": ("gaudi", "npu"), "0x1d0f": ("aws", "npu")}
# `| 0     910B3 | OK | 93.5 40 0 / 0 |`, then `| 0 | 0000:C1:00.0 | 0  0 / 0  3350 / 65536 |`.
_ASCEND = re.compile(r"^\|\s*\d+\s+(?:Ascend\s*)?(\d{3}\w*)\s*\|")
_HBM = re.compile(r"(\d+)\s*/\s*(\d+)\s*\|\s*$")


def accelerators(edge: Edge) -> dict[str, list[Card]]:
    """The accelerators of each maker; of none that is not there."""
    found: dict[str, list[Card]] = {}
    for maker, card in (*_ascend(edge), *_gaudi(edge), *_neuron(edge)):
        found.setdefault(maker, []).append(card)
    for maker, card in _by_pci(edge):
        if maker not in found or found[maker][0].gpu.told_by == "PCI id":
            found.setdefault(maker, []).append(card)
    return found


def _ascend(edge: Edge) -> Iterator[tuple[str, Card]]:
    lines = edge.run(["npu-smi", "info"]).splitlines()
    for line, below in pairwise(lines):
        name = _ASCEND.match(line)
        if not name:
            continue
        memory = _HBM.search(below)
        size = int(memory[2]) * MIB if memory else None
        yield "huawei", Card(Gpu(f"Ascend {name[1]}", "huawei", memory_bytes=size, kind="npu", told_by="npu-smi"))


def _gaudi(edge: Edge) -> Iterator[tuple[str, Card]]:
    for line in edge.run(HL_SMI).splitlines():
        part, _, memory = (piece.strip() for piece in line.partition(","))
        name = GAUDI_PARTS.get(part[:6].upper())
        if name:
            size = re.match(r"(\d+)", memory)
            memory_bytes = int(size[1]) * MIB if size else None
            yield "gaudi", Card(Gpu(name, "intel", memory_bytes=memory_bytes, kind="npu", told_by="hl-smi"))


def _neuron(edge: Edge) -> Iterator[tuple[str, Card]]:
    """neuron-ls counts devices and their memory; which part they are, the PCI id or the instance's name tells."""
    for device in records(edge.json(["neuron-ls", "--json-output"])):
        size = whole_number(device.get("memory_size"))
        cores = whole_number(device.get("nc_count"))
        name = _neuron_part(edge)
        if size and name:
            yield "aws", Card(Gpu(name, "aws", memory_bytes=size, cores=cores, kind="npu", told_by="neuron-ls"))


def _neuron_part(edge: Edge) -> str:
    named = [card.gpu.name for maker, card in _by_pci(edge) if maker == "aws"]
    if named:
        return named[0]
    instance = edge.read("/sys/class/dmi/id/product_name")
    families = {"inf1": "AWS Inferentia1", "inf2": "AWS Inferentia2", "trn1": "AWS Trainium1", "trn2": "AWS Trainium2"}
    return families.get(instance[:4].casefold(), "")


def _by_pci(edge: Edge) -> Iterator[tuple[str, Card]]:
    for path in edge.glob("/sys/bus/pci/devices/*"):
        base = f"/sys/bus/pci/devices/{path.name}"
        maker = BY_PCI.get(edge.read(f"{base}/vendor"))
        if maker is None:
            continue
        device = edge.read(f"{base}/device")
        subsystem = edge.read(f"{base}/subsystem_device") if maker[0] == "google" else ""
        known = find_pci(edge.read(f"{base}/vendor"), device, subsystem)
        if known:
            vendor = {"gaudi": "intel"}.get(maker[0], maker[0])
            yield maker[0], Card(Gpu(known.name, vendor, kind=maker[1], told_by="PCI id"))
