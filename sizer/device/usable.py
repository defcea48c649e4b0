"""What of a device's nominal memory a program finds: less what ECC, the driver and a board's system keep.

`data/usable_memory.csv` has one rule a row, fitted on what drivers, Metal and boards showed (tests/data/memory).
"""

from __future__ import annotations

from functools import cache, lru_cache

from sizer.device.records import Device, Target, is_cpu
from sizer.frozen import NamedTuple
from sizer.tables import matches, read_rows
from sizer.units import GB, GIB, MIB

CUDA_RESERVE_MIB = 256.0
CUDA_RESERVE_MIB_PER_GIB = 5.6
LARGEST_CUDA_RESERVE_MIB = 500.0
"""What CUDA programs see less than nvidia-smi on Linux (torch.cuda.mem_get_info, cudaDeviceProp.totalGlobalMem).

Fitted on 31 pairs of `tests/data/memory/usable.csv`: 244 MiB on 11 GiB (2080 Ti), 350 on 24 (4090), 488 on 32 (5090),
573 on 48 (L40S), 478 on 80 (H100), 614 on 141 (H200), 717 on 180 (B200). Drivers on Windows hand out all of it.
"""


MOST_WIRED_SHARE = 0.9
LEAST_SYSTEM_BYTES = 3 * GIB
"""Of a Mac's memory, what its GPU may be given where the system keeps enough to run: nine tenths, and all but 3 GiB."""
SHARING_KINDS = frozenset({"apple", "apu"})
"""Kinds whose GPU has a share of the system's memory, whoever told how much that is."""


class UsableRule(NamedTuple):
    """One row: usable MiB = nominal x `kept_fraction` - GiB x `per_gib_mib` - `bus_mib` - `fixed_mib`.

    `devices` are patterns of keys (`rtx-4060*`), none for all. `system_mib` is what the system of a board with one
    memory takes of that before a model is loaded.
    """

    devices: tuple[str, ...]
    vendor: str
    kind: str
    max_memory_bytes: int
    kept_fraction: float
    per_gib_mib: float
    bus_mib: float
    fixed_mib: float
    system_mib: float
    source: str

    def holds_for(self, device: Device, memory_bytes: int) -> bool:
        """Whether the rule is the device's, at that memory."""
        return (
            self.kind == device.kind
            and self.vendor in {"", device.vendor}
            and memory_bytes <= self.max_memory_bytes
            and (not self.devices or any(matches(pattern, device.key) for pattern in self.devices))
        )

    def usable_bytes(self, memory_bytes: int) -> int:
        """Bytes that the driver shows of a nominal size."""
        lost_mib = self.per_gib_mib * memory_bytes / GIB + self.bus_mib + self.fixed_mib
        return max(0, int(memory_bytes * self.kept_fraction - lost_mib * MIB))


@cache
def _rules() -> tuple[UsableRule, ...]:
    return tuple(_rule(row) for row in read_rows("usable_memory.csv"))


def _rule(row: dict[str, str]) -> UsableRule:
    return UsableRule(
        devices=tuple(row["devices"].split()),
        vendor=row["vendor"],
        kind=row["kind"],
        max_memory_bytes=int(float(row["max_memory_gib"]) * GIB) if row["max_memory_gib"] else 2**62,
        kept_fraction=float(row["kept_fraction"]),
        per_gib_mib=float(row["per_gib_mib"]),
        bus_mib=float(row["bus_bits"]) * float(row["mib_per_bus_bit"]),
        fixed_mib=float(row["fixed_mib"]),
        system_mib=float(row["system_mib"]),
        source=row["source"],
    )


@lru_cache(maxsize=4096)
def usable_rule(device: Device, memory_bytes: int) -> UsableRule | None:
    """The first rule that is the device's, None where the driver shows the nominal size."""
    return next((rule for rule in _rules() if rule.holds_for(device, memory_bytes)), None)


def usable_memory_bytes(device: Device, memory_bytes: int | None = None) -> int | None:
    """What the driver shows of one device (Metal's working set of a Mac); None where its memory is not known.

    `memory_bytes` replaces the device's own (the system's memory of an APU). A size that the user gave or a driver
    told (`memory_basis`) holds as it is, where it is not one that the GPU shares with the system.
    """
    nominal = device.memory_bytes if memory_bytes is None or device.memory_basis else memory_bytes
    if nominal is None or (device.memory_basis and device.kind not in SHARING_KINDS):
        return nominal
    if device.memory_limit_bytes is not None:
        return min(nominal, device.memory_limit_bytes)
    rule = usable_rule(device, nominal)
    return nominal if rule is None else rule.usable_bytes(nominal)


def free_memory_bytes(target: Target, device: Device) -> int | None:
    """What a model may take of one device of a target: usable memory, less what the driver and the system keep.

    A CPU has the system's memory (`--ram`), a socket its share of it, and so has a GPU that shares it. NVIDIA's driver
    keeps some of a card that nvidia-smi counts. What the user put aside (`reserve_bytes`) is taken off. None where it
    is not known.
    """
    system = target.host_memory_bytes if is_cpu(device) or device.kind == "apu" else None
    if system is not None and is_cpu(device):
        system //= target.count + len(target.others)
    shown = usable_memory_bytes(device, system)
    if shown is None:
        return None
    return max(0, shown - int(_kept_mib(device, shown) * MIB) - target.reserve_bytes)


def _kept_mib(device: Device, shown_bytes: int) -> float:
    """What the driver or a board's system keeps of the memory shown; nothing of a size that the user gave."""
    if device.memory_basis == "stated":
        return 0.0
    if device.vendor == "nvidia" and device.kind == "gpu":
        return cuda_reserve_mib(shown_bytes)
    rule = usable_rule(device, device.memory_bytes or shown_bytes)
    return rule.system_mib if rule is not None and device.memory_limit_bytes is None else 0.0


def cuda_reserve_mib(shown_bytes: int) -> float:
    """What a CUDA program sees less than nvidia-smi, on Linux."""
    return min(LARGEST_CUDA_RESERVE_MIB, CUDA_RESERVE_MIB + CUDA_RESERVE_MIB_PER_GIB * shown_bytes / GIB)


def limit_note(device: Device) -> str:
    """How the owner of a Mac gives its GPU more of the memory; empty for other devices, or where a limit is set."""
    shown, limit_mib = usable_memory_bytes(device), raised_limit_mib(device)
    if limit_mib is None or not shown or not device.memory_bytes:
        return ""
    return (
        f"macOS gives the GPU {shown / GIB:.1f} of {device.memory_bytes / GIB:.0f} GiB: "
        f"'{raising(limit_mib)}' raises it until the next start."
    )


def raised_limit_mib(device: Device) -> int | None:
    """MiB that the owner of a Mac may give its GPU; None for other devices, where a limit is set, or where that is no
    more than macOS gives by itself."""
    shown = usable_memory_bytes(device)
    if device.kind != "apple" or device.memory_limit_bytes is not None or not shown or not device.memory_bytes:
        return None
    most = min(int(device.memory_bytes * MOST_WIRED_SHARE), device.memory_bytes - LEAST_SYSTEM_BYTES)
    return most // MIB if most > shown else None


def raising(limit_mib: int) -> str:
    """The command that gives a Mac's GPU so much until the next start."""
    return f"sudo sysctl iogpu.wired_limit_mb={limit_mib}"


def as_sold(size_bytes: int) -> int:
    """A memory typed in whole decimal gigabytes as what is sold under that label: 12GB of memory are 12 GiB."""
    return size_bytes // GB * GIB if size_bytes % GB == 0 and size_bytes % GIB else size_bytes
