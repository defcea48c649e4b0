"""Accelerators of this machine: NVML, sysfs for AMD and Intel, system_profiler for Apple."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sizer.device.machine import Edge, Gpu

# Two transfers a clock: the memory clock that the driver prints is half of the data rate.
TRANSFERS_PER_CLOCK = 2
BITS_PER_BYTE = 8
PCI_VENDORS = {"0x1002": "amd", "0x8086": "intel"}


def _ask(nvml: Any, question: str, *arguments: Any) -> Any:
    """One question to NVML, None where this card, driver or binding does not answer it (it raises its own tree)."""
    try:
        return getattr(nvml, question)(*arguments)
    except Exception:
        return None


def nvidia(edge: Edge) -> tuple[Gpu, ...]:
    """NVIDIA GPUs that this process may use; a card in MIG mode is its instances."""
    nvml = edge.nvml()
    if nvml is None:
        return ()
    visible = edge.environment.get("CUDA_VISIBLE_DEVICES")
    found: list[Gpu] = []
    for number in range(_ask(nvml, "nvmlDeviceGetCount") or 0):
        handle = _ask(nvml, "nvmlDeviceGetHandleByIndex", number)
        if handle is None:
            continue
        instances = tuple(_mig_instances(nvml, handle))
        for gpu, handle_of in instances or ((_nvidia_card(nvml, handle), handle),):
            if _is_visible(visible, number, _text(_ask(nvml, "nvmlDeviceGetUUID", handle_of))):
                found.append(gpu)
    return tuple(found)


def _is_visible(visible: str | None, number: int, uuid: str) -> bool:
    """Whether CUDA_VISIBLE_DEVICES lets the card through: by number or by the start of its UUID."""
    if visible is None:
        return True
    chosen = [one.strip() for one in visible.split(",")]
    return any(one == str(number) or (one.startswith(("GPU-", "MIG-")) and uuid.startswith(one)) for one in chosen)


def _nvidia_card(nvml: Any, handle: Any) -> Gpu:
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
    )


def _mig_instances(nvml: Any, handle: Any) -> Iterator[tuple[Gpu, Any]]:
    """The MIG instances of a card, none where the mode is off. Their names carry the profile: `... MIG 1g.10gb`."""
    mode = _ask(nvml, "nvmlDeviceGetMigMode", handle)
    if not mode or not mode[0]:
        return
    card = _nvidia_card(nvml, handle)
    for number in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        instance = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        if instance is None:
            continue
        name = _text(_ask(nvml, "nvmlDeviceGetName", instance))
        profile = re.search(r"\d+g\.\d+gb", name)
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
            ),
            instance,
        )


def _text(value: Any) -> str:
    """Old bindings return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def drm(edge: Edge) -> tuple[Gpu, ...]:
    """AMD and discrete Intel GPUs by sysfs."""
    cards: dict[str, list[str]] = {"amd": [], "intel": []}
    for path in edge.glob("/sys/class/drm/card[0-9]*"):
        base = f"/sys/class/drm/{path.name}/device"
        vendor = PCI_VENDORS.get(edge.read(f"{base}/vendor"))
        if vendor and "-" not in path.name:
            cards[vendor].append(base)
    names = _rocm_names(edge) if cards["amd"] else []
    gfx_ids = list(_gfx_ids(edge))
    amd = (_amd(edge, base, names, gfx_ids, number) for number, base in enumerate(cards["amd"]))
    intel = (_intel(edge, base) for base in cards["intel"])
    return tuple(gpu for gpu in (*amd, *intel) if gpu)


def _amd(edge: Edge, base: str, names: list[str], gfx_ids: list[str], number: int) -> Gpu | None:
    total = edge.number(f"{base}/mem_info_vram_total")
    if total is None:
        return None
    used = edge.number(f"{base}/mem_info_vram_used")
    name = names[number] if number < len(names) else edge.read(f"{base}/product_name")
    gfx = gfx_ids[number] if number < len(gfx_ids) else ""
    # APUs and new parts are called "AMD Radeon Graphics": the gfx id tells them apart.
    if gfx and (not name or name.casefold() in {"amd radeon graphics", "radeon graphics"}):
        name = gfx
    return Gpu(
        name=name or f"AMD GPU {edge.read(f'{base}/device')}",
        vendor="amd",
        memory_bytes=total,
        free_memory_bytes=total - used if used is not None else None,
        shared_memory_bytes=edge.number(f"{base}/mem_info_gtt_total"),
        compute_capability=gfx,
    )


def _rocm_names(edge: Edge) -> list[str]:
    """The marketing names that rocm-smi prints, by card."""
    try:
        cards = json.loads(edge.run(["rocm-smi", "--showproductname", "--json"]) or "{}")
    except ValueError:
        return []
    if not isinstance(cards, dict):
        return []
    series = [card for _, card in sorted(cards.items()) if isinstance(card, dict)]
    return [str(card.get("Card Series") or card.get("Card series") or "") for card in series]


def _gfx_ids(edge: Edge) -> Iterator[str]:
    """`gfx1151` of each GPU of the kernel's compute driver: its version number is 110501."""
    for path in edge.glob("/sys/class/kfd/kfd/topology/nodes/[0-9]*"):
        text = edge.read(f"/sys/class/kfd/kfd/topology/nodes/{path.name}/properties")
        match = re.search(r"^gfx_target_version (\d+)$", text, re.MULTILINE)
        if match and int(match[1]):
            version = int(match[1])
            yield f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _intel(edge: Edge, base: str) -> Gpu | None:
    """A discrete Intel GPU; integrated ones have no memory of their own and are left to the CPU's row."""
    total = edge.number(f"{base}/lmem_total_bytes")
    if total is None:
        sizes = [edge.number(f"{base}/{tile}/lmem_total_bytes") for tile in ("tile0", "drm/card0")]
        total = next((size for size in sizes if size), None)
    if not total:
        return None
    device = edge.read(f"{base}/device").removeprefix("0x")
    line = edge.run(["lspci", "-mm", "-d", f"8086:{device}"])
    quoted = re.findall(r'"([^"]*)"', line)
    name = quoted[2] if len(quoted) > 2 else f"Intel GPU 0x{device}"
    bracket = re.search(r"\[([^\]]+)\]", name)
    if bracket and bracket[1] != "Intel Graphics":
        name = bracket[1]
    return Gpu(name=name, vendor="intel", memory_bytes=total)


def apple(edge: Edge, cpu: str, memory_bytes: int | None) -> tuple[Gpu, ...]:
    """The GPU of an Apple chip, with its core count: the chip's name does not tell the bin, the count does."""
    try:
        profile = json.loads(edge.run(["system_profiler", "SPDisplaysDataType", "-json"]) or "{}")
    except ValueError:
        profile = {}
    cards = profile.get("SPDisplaysDataType", []) if isinstance(profile, dict) else []
    counts = [str(card.get("sppci_cores", "")) for card in cards if isinstance(card, dict)]
    cores = next((int(count) for count in counts if count.isdigit()), None)
    return (Gpu(name=cpu, vendor="apple", memory_bytes=memory_bytes, cores=cores),)
