"""The records that this machine becomes."""

from __future__ import annotations

from sizer.device.evidence import Evidence
from sizer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator that can be seen: a card, a MIG instance of one, or the GPU of a chip with unified memory.

    `clock_bytes_per_s` is bus width times memory clock, as the driver tells them. `processes` counts others that
    compute on it. `shared_memory_bytes` is what it may take of the system's memory besides its own. `integrated` is one
    in the processor, without memory of its own but a carve-out; `pci_id` is `vendor:device` in hexadecimal, `kind` gpu,
    npu or tpu, `told_by` the source of name and memory.
    """

    name: str
    vendor: str
    memory_bytes: int | None = None
    free_memory_bytes: int | None = None
    shared_memory_bytes: int | None = None
    clock_bytes_per_s: float | None = None
    compute_capability: str = ""
    driver: str = ""
    mig_profile: str = ""
    cores: int | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    processes: int | None = None
    integrated: bool = False
    pci_id: str = ""
    kind: str = "gpu"
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine as a program in it sees it.

    `memory_bytes` is the smaller of the physical memory and the container's limit, `available_bytes` what is free of
    it. `cores` are physical, of which `fast_cores` are the fast kind where there are two (`fast_cpus` by number);
    `threads` are logical; `usable_cores` is what affinity and the container's quota leave.
    `numa_nodes_bytes` is the memory of each node with CPUs, `memory_only_nodes_bytes` of each without (HBM, CXL, a
    GPU's). `mem_channels` (of 64 bits) and `mem_mts` are the installed modules where they can be read, `mem_modules`
    how many there are, `mem_type` what kind. `product` is the board's or the cloud's name for it, `wired_limit_bytes`
    Apple's limit on GPU memory where one was set, `npus` the neural processors that the system names, `hidden` what the
    environment hides. `evidence` says who told what, `doubts` where two sources differ, and what does not answer.
    """

    os: str
    cpu: str
    cpu_vendor: str = ""
    cpu_family: int | None = None
    cpu_model: int | None = None
    architecture: str = ""
    sockets: int = 1
    cores: int | None = None
    fast_cores: int | None = None
    fast_cpus: tuple[int, ...] = ()
    threads: int | None = None
    usable_cores: float | None = None
    instruction_sets: tuple[str, ...] = ()
    cache_bytes: int | None = None
    memory_bytes: int | None = None
    physical_memory_bytes: int | None = None
    available_bytes: int | None = None
    numa_nodes_bytes: tuple[int, ...] = ()
    memory_only_nodes_bytes: tuple[int, ...] = ()
    mem_channels: float | None = None
    mem_mts: int | None = None
    mem_modules: int | None = None
    mem_type: str = ""
    product: str = ""
    virtual: bool = False
    wsl: bool = False
    low_power: bool = False
    unified_memory: bool = False
    wired_limit_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()
    npus: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    doubts: tuple[str, ...] = ()
