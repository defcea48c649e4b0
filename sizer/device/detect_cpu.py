"""CPU and memory of this machine, as the container sees them: /proc, sysfs, cgroups, sysctl."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sizer.device.machine import Edge, Machine
from sizer.tables import read_rows

# Instruction sets that decide how fast weights are used.
X86_SETS = ("f16c", "fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16")
AMX_SETS = ("amx_tile", "amx_int8", "amx_bf16")
ARM_SETS = ("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme")
INSTRUCTION_SETS = frozenset((*X86_SETS, *AMX_SETS, *ARM_SETS))
KIB = 1024
# cgroup v1 writes "no limit" as the largest number of pages.
NO_LIMIT = 2**60


def linux(edge: Edge) -> Machine:
    """The machine by Linux's files; what a file does not tell stays open."""
    facts = _cpuinfo(edge.read("/proc/cpuinfo"))
    memory = _meminfo(edge.read("/proc/meminfo"))
    physical, free = memory.get("MemTotal"), memory.get("MemAvailable")
    limit, used = memory_limit(edge)
    limited = limit is not None and (physical is None or limit < physical)
    channels, speed = _modules(edge.run(["dmidecode", "-t", "17"]))
    product = edge.read("/proc/device-tree/model") or edge.read("/sys/class/dmi/id/product_name")
    vendor = edge.read("/sys/class/dmi/id/sys_vendor")
    machine = _cpu(facts, f"{vendor} {product}")
    return replace(
        machine,
        os="Linux",
        usable_cores=_usable_cores(edge, machine.threads),
        cache_bytes=_last_cache(edge),
        memory_bytes=limit if limited else physical,
        physical_memory_bytes=physical,
        available_bytes=_available(free, limit if limited else None, used),
        numa_nodes_bytes=tuple(_nodes(edge)),
        mem_channels=channels,
        mem_mts=speed,
        product=f"{vendor} {product}".strip(),
        virtual="hypervisor" in facts.get("flags", "").split(),
    )


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


def _cpu(facts: dict[str, str], maker: str) -> Machine:
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return Machine(
        os="",
        cpu=facts.get("model name") or _arm_name(facts, maker) or facts.get("Hardware", ""),
        cpu_vendor=facts.get("vendor_id", ""),
        cpu_family=_integer(facts.get("cpu family")),
        cpu_model=_integer(facts.get("model")),
        sockets=_integer(facts.get("sockets")) or 1,
        cores=_integer(facts.get("cores")),
        threads=_integer(facts.get("threads")),
        instruction_sets=tuple(sorted(INSTRUCTION_SETS.intersection(flags))),
    )


def _arm_name(facts: dict[str, str], maker: str) -> str:
    """Arm kernels print numbers: the core's name, or the chip's where the machine's maker tells it."""
    implementer, part = facts.get("CPU implementer", ""), facts.get("CPU part", "")
    for row in read_rows("arm_cpus.csv"):
        if (row["implementer"], row["part"]) == (implementer, part) and row["machine"] in maker.casefold():
            return row["device_key"] or row["core"]
    return ""


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _meminfo(text: str) -> dict[str, int]:
    found = re.findall(r"^(?:Node \d+ )?(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(value) * KIB for name, value in found}


def _nodes(edge: Edge) -> Iterator[int]:
    for path in edge.glob("/sys/devices/system/node/node[0-9]*"):
        total = _meminfo(edge.read(f"/sys/devices/system/node/{path.name}/meminfo")).get("MemTotal")
        if total:
            yield total


def _last_cache(edge: Edge) -> int | None:
    """The largest cache of the first CPU, with every instance of it: what a memory test must exceed."""
    sizes: dict[tuple[int, str], int] = {}
    for path in edge.glob("/sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*"):
        base = "/" + str(path.relative_to(edge.root))
        match = re.fullmatch(r"(\d+)([KM]?)", edge.read(f"{base}/size"))
        level = edge.number(f"{base}/level")
        if match and level:
            unit = {"": 1, "K": KIB, "M": KIB * KIB}[match[2]]
            sizes[level, edge.read(f"{base}/shared_cpu_list")] = int(match[1]) * unit
    last = max((level for level, _ in sizes), default=0)
    return sum(size for (level, _), size in sizes.items() if level == last) or None


def _own_groups(edge: Edge, controller: str) -> Iterator[str]:
    """Folders of this process's cgroup (v2, then v1 of one controller), walking up to the root."""
    for line in edge.read("/proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            mounts = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
        elif controller in controllers.split(","):
            mounts = (f"/sys/fs/cgroup/{controller}", f"/sys/fs/cgroup/{controllers}")
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for mount in dict.fromkeys(mounts):
            yield from ("/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def memory_limit(edge: Edge) -> tuple[int | None, int | None]:
    """The tightest memory limit of the cgroups around this process, and what that one uses now."""
    limits = []
    for folder in _own_groups(edge, "memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = edge.number(f"{folder}/{limit_file}")
            if limit is not None and 0 < limit < NO_LIMIT:
                limits.append((limit, edge.number(f"{folder}/{used_file}")))
    return min(limits, key=lambda pair: pair[0], default=(None, None))


def _usable_cores(edge: Edge, threads: int | None) -> float | None:
    """Logical CPUs that affinity and the cgroup's quota leave."""
    import os

    allowed = [float(threads)] if threads else []
    if hasattr(os, "sched_getaffinity") and str(edge.root) == "/":
        allowed.append(float(len(os.sched_getaffinity(0))))
    for folder in _own_groups(edge, "cpu"):
        quota, _, period = edge.read(f"{folder}/cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            allowed.append(int(quota) / int(period))
        old_quota, old_period = edge.number(f"{folder}/cpu.cfs_quota_us"), edge.number(f"{folder}/cpu.cfs_period_us")
        if old_quota and old_quota > 0 and old_period:
            allowed.append(old_quota / old_period)
    return min(allowed, default=None)


def _modules(text: str) -> tuple[int | None, int | None]:
    """Channels and speed from `dmidecode -t 17`; None where slots do not name their channel.

    Populated slots are not channels (four modules of a desktop are two channels), so channels are told by the letter in
    the locator: `P0 CHANNEL A`, `DIMM_B1`, `ChannelC-DIMM0`.
    """
    channels, speeds = set(), []
    for block in text.split("\n\n"):
        fields = {
            name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        speed = re.match(r"(\d+) MT/s", fields.get("Configured Memory Speed", ""))
        if not re.match(r"\d", fields.get("Size", "")) or not speed:
            continue
        place = f"{fields.get('Bank Locator', '')} {fields.get('Locator', '')}"
        letter = re.search(r"channel[ _-]?([a-p])\b|channel([a-p])|dimm[ _-]?([a-p])\d?\b", place, re.IGNORECASE)
        node = re.search(r"\b(?:p|cpu|node|proc)[ _]?(\d)", place, re.IGNORECASE)
        channels.add((node[1] if node else "", next(filter(None, letter.groups())).lower()) if letter else None)
        speeds.append(int(speed[1]))
    known = channels and None not in channels
    return (len(channels) if known else None), min(speeds, default=None)


def mac(edge: Edge) -> Machine:
    """The machine by sysctl."""

    def ask(name: str) -> str:
        return edge.run(["sysctl", "-n", name]).strip()

    wired = _integer(ask("iogpu.wired_limit_mb"))
    cpu, threads = ask("machdep.cpu.brand_string"), _integer(ask("hw.logicalcpu"))
    return Machine(
        os="macOS",
        cpu=cpu,
        cpu_vendor="Apple" if cpu.startswith("Apple") else "GenuineIntel",
        cores=_integer(ask("hw.physicalcpu")),
        threads=threads,
        usable_cores=float(threads) if threads else None,
        cache_bytes=_integer(ask("hw.perflevel0.l2cachesize")) or _integer(ask("hw.l3cachesize")),
        memory_bytes=_integer(ask("hw.memsize")),
        physical_memory_bytes=_integer(ask("hw.memsize")),
        available_bytes=_psutil_available(),
        product=ask("hw.model"),
        unified_memory=cpu.startswith("Apple"),
        wired_limit_bytes=wired * KIB * KIB if wired else None,
    )


def other(edge: Edge) -> Machine:
    """Windows and the rest: what psutil and the platform tell."""
    import platform

    import psutil

    memory = psutil.virtual_memory()
    return Machine(
        os=edge.system,
        cpu=_windows_name() or platform.processor(),
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(),
        usable_cores=float(psutil.cpu_count() or 1),
        memory_bytes=memory.total,
        physical_memory_bytes=memory.total,
        available_bytes=memory.available,
    )


def _windows_name() -> str:
    """The processor's name in the registry: `platform.processor()` has only its stepping."""
    try:
        from winreg import HKEY_LOCAL_MACHINE, OpenKey, QueryValueEx  # type: ignore[attr-defined,unused-ignore]

        with OpenKey(HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except (ImportError, OSError):
        return ""


def _psutil_available() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)
