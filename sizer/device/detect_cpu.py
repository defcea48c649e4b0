"""CPU and memory of a Linux machine, as the container sees them: /proc, sysfs, cgroups, the device tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sizer.device.cgroups import memory_limit, usable_cores
from sizer.device.edge import Edge
from sizer.device.evidence import Evidence
from sizer.device.machine import Machine
from sizer.device.modules import NOTHING_TOLD, from_dmidecode
from sizer.tables import read_rows
from sizer.units import GIB, KIB

# Instruction sets that decide how fast weights are used.
X86_SETS = ("f16c", "fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16")
AMX_SETS = ("amx_tile", "amx_int8", "amx_bf16")
ARM_SETS = ("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme")
INSTRUCTION_SETS = frozenset((*X86_SETS, *AMX_SETS, *ARM_SETS))
# What DMI calls a machine that a hypervisor makes up.
VIRTUAL_PRODUCTS = re.compile(
    r"\b(?:kvm|qemu|vmware|virtualbox|virtual machine|hvm domu|openstack|bhyve|parallels|google compute|amazon ec2|"
    r"alibaba cloud ecs|droplet|vserver|xen)\b",
    re.IGNORECASE,
)


def linux(edge: Edge) -> Machine:
    """The machine by Linux's files; what a file does not tell stays open."""
    facts = _cpuinfo(edge.read("/proc/cpuinfo"))
    memory = _meminfo(edge.read("/proc/meminfo"))
    nodes = list(_nodes(edge))
    memory_only = tuple(size for size, has_cpus in nodes if not has_cpus)
    physical, free = memory.get("MemTotal"), memory.get("MemAvailable")
    limit, used = memory_limit(edge)
    limited = limit is not None and (physical is None or limit < physical)
    installed = from_dmidecode(edge.run(["dmidecode", "-t", "17"]))
    vendor = edge.read("/sys/class/dmi/id/sys_vendor")
    product = _board(edge)
    machine, fast = _cpu(edge, facts, f"{vendor} {product}"), _fast_cpus(edge)
    return replace(
        machine,
        os="Android" if is_android(edge) else "Linux",
        fast_cores=_count_cores(edge, fast) or None,
        fast_cpus=tuple(sorted(fast)),
        usable_cores=usable_cores(edge, machine.threads),
        cache_bytes=_last_cache(edge),
        memory_bytes=limit if limited else physical,
        physical_memory_bytes=physical,
        available_bytes=_available(free, limit if limited else None, used),
        numa_nodes_bytes=tuple(size for size, has_cpus in nodes if has_cpus),
        memory_only_nodes_bytes=memory_only,
        mem_channels=installed.channels,
        mem_mts=installed.mts,
        mem_modules=installed.modules,
        mem_type=installed.kind,
        product=f"{vendor} {product}".strip(),
        virtual="hypervisor" in facts.get("flags", "").split() or bool(VIRTUAL_PRODUCTS.search(f"{vendor} {product}")),
        wsl="microsoft" in edge.read("/proc/sys/kernel/osrelease").casefold(),
        evidence=(
            *machine.evidence,
            *_memory_evidence(physical, limit if limited else None),
            *([] if installed == NOTHING_TOLD else [Evidence("memory modules", f"{installed.mts} MT/s", "dmidecode")]),
        ),
    )


def _memory_evidence(physical: int | None, limit: int | None) -> Iterator[Evidence]:
    if physical is not None:
        yield Evidence("memory", f"{physical / GIB:.4g} GiB", "/proc/meminfo")
    if limit is not None:
        yield Evidence("memory limit", f"{limit / GIB:.4g} GiB", "the container's cgroup")


def is_android(edge: Edge) -> bool:
    """Whether this is Termux on Android, whose kernel files are Linux's as far as it lets them be read."""
    return "ANDROID_ROOT" in edge.environment or "com.termux" in edge.environment.get("PREFIX", "")


def _board(edge: Edge) -> str:
    """The board or the machine: the device tree's model, the firmware's product, an Android device's chip."""
    if is_android(edge):
        named = (edge.run(["getprop", name]).strip() for name in ("ro.soc.model", "ro.product.model"))
        return " ".join(filter(None, named))
    model = edge.read("/proc/device-tree/model") or edge.read("/sys/class/dmi/id/product_name")
    # A board's maker names its chip last: `radxa,rock-5b`, `rockchip,rk3588`.
    chip = re.findall(r"rockchip,(rk\d+)", edge.read("/proc/device-tree/compatible"))
    return f"{model} ({chip[-1].upper()})" if chip and chip[-1] not in model.casefold() else model


def _available(free: int | None, limit: int | None, used: int | None) -> int | None:
    if free is None or limit is None:
        return free
    return max(0, min(free, limit - (used or 0)))


def _cpuinfo(text: str) -> dict[str, str]:
    """The first processor's lines, and counts over all of them."""
    facts: dict[str, str] = {}
    threads, cores, sockets = 0, set(), set()
    for block in re.split(r"\n\s*\n", text):
        pairs = [line.partition(":") for line in block.splitlines() if ":" in line]
        entry = {name.strip(): value.strip() for name, _, value in pairs}
        if "processor" not in entry:
            facts.update({name: value for name, value in entry.items() if name not in facts})
            continue
        threads += 1
        sockets.add(entry.get("physical id", "0"))
        cores.add((entry.get("physical id", "0"), entry.get("core id", entry["processor"])))
        facts = {**entry, **facts}
    counted = {"threads": str(threads), "cores": str(len(cores)), "sockets": str(len(sockets))}
    return {**facts, **counted} if threads else facts


def _cpu(edge: Edge, facts: dict[str, str], maker: str) -> Machine:
    """The machine's processor, by what /proc/cpuinfo or its device tree says."""
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    chip = re.search(r"\((RK\d+)\)", maker)
    name = facts.get("model name") or _arm_name(facts, maker) or facts.get("Hardware") or facts.get("uarch", "")
    name = chip[1] if chip else name
    threads = _integer(facts.get("threads"))
    if not threads:  # Android and hardened containers hide /proc/cpuinfo
        threads = edge.processors()[1] if is_android(edge) else None
    return Machine(
        os="",
        cpu=name,
        cpu_vendor=facts.get("vendor_id", ""),
        cpu_family=_integer(facts.get("cpu family")),
        cpu_model=_integer(facts.get("model")),
        sockets=_integer(facts.get("sockets")) or 1,
        cores=_integer(facts.get("cores")),
        threads=threads,
        instruction_sets=tuple(sorted(INSTRUCTION_SETS.intersection(flags))),
        evidence=(Evidence("CPU", name, "/proc/cpuinfo"),) if name else (),
    )


def _arm_name(facts: dict[str, str], maker: str) -> str:
    """Arm kernels print numbers: the core's name, or the chip's where the machine's maker tells it."""
    implementer, part = facts.get("CPU implementer", ""), facts.get("CPU part", "")
    for row in read_rows("arm_cpus.csv"):
        if (row["implementer"], row["part"]) == (implementer, part) and row["machine"] in maker.casefold():
            return row["device_key"] or row["core"]
    return ""


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _meminfo(text: str) -> dict[str, int]:
    found = re.findall(r"^(?:Node \d+ )?(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(value) * KIB for name, value in found}


def _nodes(edge: Edge) -> Iterator[tuple[int, bool]]:
    """The memory of each NUMA node, and whether CPUs belong to it: HBM, CXL and a GPU's memory are nodes without."""
    for path in edge.glob("/sys/devices/system/node/node[0-9]*"):
        base = f"/sys/devices/system/node/{path.name}"
        total = _meminfo(edge.read(f"{base}/meminfo")).get("MemTotal")
        if total:
            yield total, bool(edge.read(f"{base}/cpulist")) or not edge.exists(f"{base}/cpulist")


def _fast_cpus(edge: Edge) -> set[int]:
    """CPUs of the fastest kind where there are two or more: by Intel's `cpu_core` list, else by the kernel's capacity,
    else by the highest clock. None where all are alike or nothing tells."""
    performance = edge.read("/sys/devices/cpu_core/cpus")
    if performance and edge.read("/sys/devices/cpu_atom/cpus"):
        return _listed(performance)
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        told: dict[int, int] = {}
        for path in edge.glob(f"/sys/devices/system/cpu/cpu[0-9]*/{name}"):
            match = re.search(r"/cpu(\d+)/", path.as_posix())
            value = edge.number(f"/{path.relative_to(edge.root).as_posix()}")
            if match and value:
                told[int(match[1])] = value
        # Favoured cores of one kind differ by a few percent; kinds differ by a fifth and more.
        fast = {cpu for cpu, value in told.items() if value > 0.8 * max(told.values())}
        if told and len(fast) < len(told):
            return fast
    return set()


def _count_cores(edge: Edge, cpus: set[int]) -> int:
    """Physical cores among CPUs: second threads share their first one's list of siblings."""
    places = {edge.read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    return len(places)


def _listed(text: str) -> set[int]:
    """The CPUs of `0-15,32`."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found.update(range(int(first), min(int(last or first), int(first) + 4096) + 1))
    return found


def _last_cache(edge: Edge) -> int | None:
    """The largest cache of the first CPU, with every instance of it: what a memory test must exceed."""
    sizes: dict[tuple[int, str], int] = {}
    for path in edge.glob("/sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*"):
        base = f"/{path.relative_to(edge.root).as_posix()}"
        match = re.fullmatch(r"(\d+)([KM]?)", edge.read(f"{base}/size"))
        level = edge.number(f"{base}/level")
        if match and level:
            unit = {"": 1, "K": KIB, "M": KIB * KIB}[match[2]]
            sizes[level, edge.read(f"{base}/shared_cpu_list")] = int(match[1]) * unit
    last = max((level for level, _ in sizes), default=0)
    return sum(size for (level, _), size in sizes.items() if level == last) or None
