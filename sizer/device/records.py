"""The records that a device becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from sizer.frozen import NamedTuple, dataclass

MOST_DEVICES = 1024
"""Devices that run one model together at most: each is placed by itself."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator or one CPU socket with its memory.

    Every figure is None where no source tells it. Memory sizes are those that vendors print in GB and build in powers
    of two: an 80 GB card holds 80 x 2^30 bytes. `memory_options_bytes` are the sizes that it is sold with, where there
    are several; `memory_bytes` is then the largest, unless the asker named one. `peak_flops_per_s` is dense, by number
    format (`fp32`, `fp16`, `bf16`, `int8`, `fp8`, `fp4`; `fp16_acc16` accumulates in fp16). `interconnect_bytes_per_s`
    is both directions added. CPUs have no memory of their own in the table: it is the system's. `kind` is gpu, cpu,
    apple, apu, sbc, npu or tpu: the CPU cores of a chip with unified memory are kind `cpu` under the chip's key.
    `mem_channels` and `mem_mts` (million transfers a second) make up the bandwidth of a CPU; `cores` are its physical
    ones, fast and slow together, on this machine those that may be used. `bandwidth_basis` is empty for the
    specification of the table, else `measured` (by the probe, here), `modules` (the memory that is installed), `clock`
    (bus width times memory clock, as the driver says) or `stated` by the user. `source` is where the figures were read.
    `memory_basis` is empty for the label, of which drivers show less (`sizer.device.usable`), else `driver` for what
    its driver told, or `stated` by the user. `memory_limit_bytes` is a share of it that the owner set (a Mac's wired
    limit) or a slice has. `beside_gpu` is true of the NPU of a chip: what runs on the GPU there does not run on it.
    """

    key: str
    name: str
    vendor: str
    kind: str
    memory_bytes: int | None
    bandwidth_bytes_per_s: float | None
    peak_flops_per_s: Mapping[str, float] = field(default_factory=dict, hash=False)
    memory_type: str = ""
    interconnect_bytes_per_s: float | None = None
    pcie: str = ""
    tdp_w: float | None = None
    release_year: int | None = None
    price_usd_launch: float | None = None
    source: str = ""
    memory_options_bytes: tuple[int, ...] = ()
    mem_channels: int | None = None
    mem_mts: int | None = None
    cores: int | None = None
    bandwidth_basis: str = ""
    memory_limit_bytes: int | None = None
    memory_basis: str = ""
    beside_gpu: bool = False


class LocalRatio(NamedTuple):
    """What benchmarks on this machine showed: measured over predicted decode and prefill speed, and when (ISO)."""

    engine: str
    precision: str
    decode: float
    prefill: float
    measured_on: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a model runs on: `count` equal devices, the link between them, and the host that layers may spill to.

    `link` is the row name of `data/interconnects.csv` between the devices, or empty where there is one device or
    none is known; `link_bytes_per_s` is its rate in one direction. `host_link` and `host_link_bytes_per_s` are the same
    for the way to the host's memory. `asked` is the user's own text; `notes` say what was assumed (which variant of an
    ambiguous name). `others` are further, unlike devices of the same machine. A host's figures are those of one socket,
    of which there are `host_count`. `local_ratios` are what benchmarks showed on this very machine. `reserve_bytes` is
    what else uses each device (a desktop, another program).
    """

    device: Device
    count: int = 1
    asked: str = ""
    link: str = ""
    link_bytes_per_s: float | None = None
    host: Device | None = None
    host_memory_bytes: int | None = None
    others: tuple[Device, ...] = ()
    notes: tuple[str, ...] = ()
    host_count: int = 1
    host_link: str = ""
    host_link_bytes_per_s: float | None = None
    local_ratios: tuple[LocalRatio, ...] = ()
    reserve_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Instance:
    """A cloud instance: `count` devices, each showing `device_memory_bytes`, and `host_memory_bytes`."""

    cloud: str
    name: str
    device_key: str
    count: int
    device_memory_bytes: int | None
    vcpus: int | None
    host_memory_bytes: int | None
    link: str
    source: str


class DeviceClass(NamedTuple):
    """A class of devices (`consumer-cpu`) and the row that stands for it: the median bandwidth of its members."""

    name: str
    key: str
    kind: str
    members: str
    since_year: int
    source: str


def is_cpu(device: Device) -> bool:
    """True of a device whose cores are a CPU's: boards with an NVIDIA GPU are not."""
    return device.kind == "cpu" or (device.kind == "sbc" and device.vendor != "nvidia")


def shares_memory(device: Device) -> bool:
    """True of a device whose memory is the system's: there is no host beside it that could hold more."""
    return is_cpu(device) or device.kind in {"apu", "apple", "sbc"}
