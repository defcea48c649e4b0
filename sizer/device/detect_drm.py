"""AMD and Intel GPUs of Linux: by sysfs, and by the drivers' own tools and Vulkan where a container hides it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sizer.device.edge import Edge, records, whole_number
from sizer.device.evidence import Reading, agree
from sizer.device.machine import Gpu
from sizer.device.pci import VENDORS, find_pci, is_integrated_name
from sizer.device.visible import Card
from sizer.frozen import NamedTuple
from sizer.units import GIB, MIB

# PCI Express transfers in GT/s -> its generation.
GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
# Names that fit many parts: the PCI id, or the gfx id, tells more.
NAMELESS = frozenset({"", "amd radeon graphics", "radeon graphics", "n/a", "unknown"})
ROCM_SMI = ["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"]
AMD_SMI = ["amd-smi", "static", "--asic", "--vram", "--json"]
XPU_SMI = ["xpu-smi", "discovery", "-j"]
VULKAN = ["vulkaninfo", "--summary"]


def drm(edge: Edge) -> tuple[dict[str, list[Card]], list[str]]:
    """The cards of each maker, and where sysfs and a tool contradict each other."""
    by_maker: dict[str, list[str]] = {"amd": [], "intel": []}
    for path in edge.glob("/sys/class/drm/card[0-9]*"):
        base = f"/sys/class/drm/{path.name}/device"
        maker = VENDORS.get(edge.read(f"{base}/vendor").removeprefix("0x"), "")
        if maker in by_maker and "-" not in path.name:
            by_maker[maker].append(base)
    amd, doubts = _amd_cards(edge, by_maker["amd"])
    intel, more = _intel_cards(edge, by_maker["intel"])
    cards = {"amd": amd or list(_amd_by_tools(edge)), "intel": intel or list(_intel_by_tools(edge))}
    if not any(cards.values()) and not edge.glob("/sys/class/drm/card[0-9]*"):
        cards = _by_vulkan(edge)
    return cards, [*doubts, *more]


def _amd_cards(edge: Edge, bases: list[str]) -> tuple[list[Card], list[str]]:
    told = _rocm(edge) if bases else []
    gfx_ids = list(_gfx_ids(edge))
    cards: list[Card] = []
    doubts: list[str] = []
    for base in bases:
        number = len(cards)
        tool = told[number] if number < len(told) else ("", None)
        gpu = _amd(edge, base, tool[0], gfx_ids[number] if number < len(gfx_ids) else "")
        if gpu is None:
            continue
        agreed = agree(f"memory of {gpu.name}", [Reading("sysfs", gpu.memory_bytes), Reading("rocm-smi", tool[1])])
        doubts.extend([agreed.contradiction] if agreed.contradiction else [])
        cards.append(Card(gpu))
    return cards, doubts


def _amd(edge: Edge, base: str, told: str, gfx: str) -> Gpu | None:
    """A card by what amdgpu's files say; None where they tell no memory."""
    total = edge.number(f"{base}/mem_info_vram_total")
    if total is None:
        return None
    used, slot = edge.number(f"{base}/mem_info_vram_used"), _slot(edge, base)
    device = edge.read(f"{base}/device")
    known = find_pci("1002", device, edge.read(f"{base}/revision"))
    by_id = known.name if known else ""
    name = next((name for name in (told, edge.read(f"{base}/product_name"), by_id) if not _nameless(name)), "")
    return Gpu(
        name=name or gfx or by_id or f"AMD GPU {device}",
        vendor="amd",
        memory_bytes=total,
        free_memory_bytes=total - used if used is not None else None,
        shared_memory_bytes=edge.number(f"{base}/mem_info_gtt_total"),
        compute_capability=gfx,
        driver=edge.read("/sys/module/amdgpu/version"),
        integrated=known.integrated if known else is_integrated_name(name or told),
        pci_id=f"1002:{device.removeprefix('0x')}",
        told_by="amdgpu (sysfs)",
        pcie_generation=slot.generation,
        pcie_lanes=slot.lanes,
    )


def _nameless(name: str) -> bool:
    return name.casefold().replace("(tm)", "").strip() in NAMELESS


class Slot(NamedTuple):
    """PCI Express generation and lanes of a card's slot, None where they are not told."""

    generation: int | None = None
    lanes: int | None = None


NO_SLOT = Slot()


def _slot(edge: Edge, base: str) -> Slot:
    """The slot as the kernel tells it: the link's fastest generation, and the lanes that are wired and used now."""
    speed = re.match(r"([\d.]+) GT/s", edge.read(f"{base}/max_link_speed"))
    lanes = edge.number(f"{base}/current_link_width")
    generation = GENERATIONS.get(speed[1]) if speed else None
    return Slot(generation, lanes) if lanes and generation else NO_SLOT


def _rocm(edge: Edge) -> list[tuple[str, int | None]]:
    """Name and memory that rocm-smi prints, by card. Its keys changed their case over the years."""
    answer = edge.json(ROCM_SMI)
    if answer is None:  # an old one refuses two questions at once
        answer = edge.json(["rocm-smi", "--showproductname", "--json"])
    cards = answer if isinstance(answer, dict) else {}
    numbered = sorted(
        ((name, card) for name, card in cards.items() if re.fullmatch(r"card\d+", str(name))), key=_number
    )
    return [
        (_series(card), whole_number(card.get("VRAM Total Memory (B)")))
        for _, card in numbered
        if isinstance(card, dict)
    ]


def _number(item: tuple[str, Any]) -> int:
    return int(item[0].removeprefix("card"))


def _series(card: dict[str, Any]) -> str:
    folded = {str(key).casefold(): str(value) for key, value in card.items()}
    names = [folded.get(key, "") for key in ("card series", "card model", "device name")]
    return next((name for name in names if name and not name.startswith("0x") and name != "N/A"), "")


def _gfx_ids(edge: Edge) -> Iterator[str]:
    """`gfx1151` of each GPU of the kernel's compute driver: its version number is 110501."""
    for path in edge.glob("/sys/class/kfd/kfd/topology/nodes/[0-9]*"):
        text = edge.read(f"/sys/class/kfd/kfd/topology/nodes/{path.name}/properties")
        match = re.search(r"^gfx_target_version (\d+)$", text, re.MULTILINE)
        if match and int(match[1]):
            version = int(match[1])
            yield f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _amd_by_tools(edge: Edge) -> Iterator[Card]:
    """The cards that rocm-smi or amd-smi names where sysfs is not mounted."""
    for name, size in _rocm(edge):
        if name:
            integrated = is_integrated_name(name)
            yield Card(Gpu(name, "amd", memory_bytes=size, integrated=integrated, told_by="rocm-smi"))
        continue
    if edge.run(ROCM_SMI):
        return
    answer = edge.json(AMD_SMI)
    listed = answer.get("gpu_data", answer) if isinstance(answer, dict) else answer
    for card in records(listed):
        asic, vram = card.get("asic"), card.get("vram")
        name = str(asic.get("market_name", "")) if isinstance(asic, dict) else ""
        size = _measured(vram.get("size")) if isinstance(vram, dict) else None
        if name and name != "N/A":
            yield Card(Gpu(name, "amd", memory_bytes=size, integrated=is_integrated_name(name), told_by="amd-smi"))


def _measured(value: object) -> int | None:
    """`{"value": 24560, "unit": "MB"}` of amd-smi, whose MB are MiB."""
    if isinstance(value, dict):
        number, unit = whole_number(value.get("value")), str(value.get("unit", "MB"))
        return number * (GIB if unit == "GB" else MIB) if number else None
    number = whole_number(value)
    return number * MIB if number else None


def _intel_cards(edge: Edge, bases: list[str]) -> tuple[list[Card], list[str]]:
    told = _xpu(edge) if bases else []
    cards, doubts = [], []
    for base in bases:
        gpu = _intel(edge, base)
        if not gpu.integrated:
            same = next((one for one in told if _same_part(one, gpu)), None)
            agreed = agree(
                f"memory of {gpu.name}",
                [Reading("sysfs", gpu.memory_bytes), Reading("xpu-smi", same.memory_bytes if same else None)],
            )
            doubts.extend([agreed.contradiction] if agreed.contradiction else [])
            gpu = replace(gpu, memory_bytes=agreed.size_bytes)
        cards.append(Card(gpu))
    # Level Zero numbers discrete cards before the processor's own.
    return sorted(cards, key=lambda card: card.gpu.integrated), doubts


def _same_part(one: Gpu, other: Gpu) -> bool:
    return one.pci_id == other.pci_id if one.pci_id else one.name.casefold() in other.name.casefold()


def _intel(edge: Edge, base: str) -> Gpu:
    """An Intel GPU. A discrete one has memory of its own, which i915 and xe tell in several places or not at all."""
    device = edge.read(f"{base}/device").removeprefix("0x")
    known = find_pci("8086", device)
    total = _local_memory(edge, base)
    name = known.name if known else _lspci_name(edge, device) or f"Intel GPU 0x{device}"
    # The processor's own sits at 00:02.0; a card sits behind a bridge.
    on_chip = edge.target(base).endswith("0000:00:02.0")
    integrated = known.integrated if known else not total and (on_chip or is_integrated_name(name))
    slot = NO_SLOT if integrated else _slot(edge, base)
    return Gpu(
        name=name,
        vendor="intel",
        memory_bytes=total,
        integrated=integrated,
        pci_id=f"8086:{device}",
        told_by="i915/xe (sysfs)",
        pcie_generation=slot.generation,
        pcie_lanes=slot.lanes,
    )


def _local_memory(edge: Edge, base: str) -> int | None:
    card = base.removesuffix("/device")
    tiles = [edge.number(f"{base}/tile{number}/vram_total") for number in range(2)]
    places = (f"{card}/lmem_total_bytes", f"{base}/lmem_total_bytes", f"{card}/gt/gt0/lmem_total_bytes")
    single = next((size for size in map(edge.number, places) if size), None)
    return single or sum(size for size in tiles if size) or None


def _lspci_name(edge: Edge, device: str) -> str:
    quoted = re.findall(r'"([^"]*)"', edge.run(["lspci", "-mm", "-d", f"8086:{device}"]))
    name = quoted[2] if len(quoted) > 2 else ""
    bracket = re.search(r"\[([^\]]+)\]", name)
    return f"Intel {bracket[1].removeprefix('Intel ')}" if bracket and bracket[1] != "Intel Graphics" else name


def _xpu(edge: Edge) -> list[Gpu]:
    """The GPUs that xpu-smi discovers."""
    answer = edge.json(XPU_SMI)
    listed = answer.get("device_list") if isinstance(answer, dict) else None
    return [
        Gpu(
            name=str(card.get("device_name") or "Intel GPU"),
            vendor="intel",
            memory_bytes=whole_number(card.get("memory_physical_size_byte")),
            integrated=is_integrated_name(str(card.get("device_name", ""))),
            pci_id=f"8086:{str(card['pci_device_id']).removeprefix('0x')}" if card.get("pci_device_id") else "",
            told_by="xpu-smi",
        )
        for card in records(listed)
        if str(card.get("device_type", "GPU")).upper() == "GPU"
    ]


def _intel_by_tools(edge: Edge) -> Iterator[Card]:
    yield from (Card(gpu) for gpu in _xpu(edge))


def _by_vulkan(edge: Edge) -> dict[str, list[Card]]:
    """The last resort: what Vulkan calls them, without their memory. Software renderers are none."""
    found: dict[str, list[Card]] = {}
    for block in re.split(r"^GPU\d+:\s*$", edge.run(VULKAN), flags=re.MULTILINE)[1:]:
        pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
        told = {name.strip(): value.strip() for name, _, value in pairs}
        maker = VENDORS.get(told.get("vendorID", "").removeprefix("0x"), "")
        kind = told.get("deviceType", "")
        if maker in {"amd", "intel"} and kind.endswith(("INTEGRATED_GPU", "DISCRETE_GPU")):
            device = told.get("deviceID", "").removeprefix("0x")
            name = re.sub(r"\s*\((?:RADV|DG2|BMG|MTL|LNL|ADL|RPL|TGL|ACM)\b[^)]*\)", "", told.get("deviceName", ""))
            known = find_pci(next(key for key, value in VENDORS.items() if value == maker), device)
            gpu = Gpu(
                name=known.name if known and _nameless(name) else name,
                vendor=maker,
                integrated=kind.endswith("INTEGRATED_GPU"),
                pci_id=f"{told['vendorID'].removeprefix('0x')}:{device}",
                driver=told.get("driverInfo", ""),
                told_by="vulkaninfo",
            )
            found.setdefault(maker, []).append(Card(gpu))
    return found
