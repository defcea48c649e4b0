"""The records that a device becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator or one CPU socket with its memory.

    Every figure is None where no source tells it. `peak_flops_per_s` is dense, by number format (`fp32`, `fp16`,
    `bf16`, `int8`, `fp8`, `fp4`; `fp16_acc16` accumulates in fp16). `interconnect_bytes_per_s` is both directions
    added. CPUs have no memory of their own in the table: it is the system's. `kind` is gpu, cpu, apple, apu, sbc, npu
    or tpu; `source` is where the figures were read.
    """

    key: str
    name: str
    vendor: str
    kind: str
    memory_bytes: int | None
    bandwidth_bytes_per_s: float | None
    peak_flops_per_s: Mapping[str, float] = field(default_factory=dict)
    memory_type: str = ""
    interconnect_bytes_per_s: float | None = None
    pcie: str = ""
    tdp_w: float | None = None
    release_year: int | None = None
    price_usd_launch: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a model runs on: `count` equal devices, the link between them, and the host that layers may spill to.

    `link` is the row name of `data/interconnects.csv` between the devices, or empty where there is one device or
    none is known. `asked` is the user's own text; `notes` say what was assumed (which variant of an ambiguous name).
    `others` are further, unlike devices of the same machine.
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
