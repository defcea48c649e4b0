"""The records that this machine becomes, and the edge through which it is looked at (replaced in tests)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_S = 10
# One of these is there with any NVIDIA driver on Linux (the last is Windows's): without, the library is not loaded.
NVIDIA_DRIVER = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator that can be seen: a card, a MIG instance of one, or the GPU of a chip with unified memory.

    `clock_bytes_per_s` is bus width times memory clock, as the driver tells them. `processes` counts others that
    compute on it. `shared_memory_bytes` is what it may take of the system's memory besides its own.
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


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine as a program in it sees it.

    `memory_bytes` is the smaller of the physical memory and the container's limit, `available_bytes` what is free of
    it. `cores` are physical, `threads` logical; `usable_cores` is what affinity and the container's quota leave.
    `numa_nodes_bytes` is the memory of each node, `mem_channels` and `mem_mts` the installed modules where they can be
    read. `product` is the board's or the cloud's name for it, `wired_limit_bytes` Apple's limit on GPU memory where one
    was set.
    """

    os: str
    cpu: str
    cpu_vendor: str = ""
    cpu_family: int | None = None
    cpu_model: int | None = None
    architecture: str = ""
    sockets: int = 1
    cores: int | None = None
    threads: int | None = None
    usable_cores: float | None = None
    instruction_sets: tuple[str, ...] = ()
    cache_bytes: int | None = None
    memory_bytes: int | None = None
    physical_memory_bytes: int | None = None
    available_bytes: int | None = None
    numa_nodes_bytes: tuple[int, ...] = ()
    mem_channels: int | None = None
    mem_mts: int | None = None
    product: str = ""
    virtual: bool = False
    unified_memory: bool = False
    wired_limit_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()


def run_command(command: list[str]) -> str:
    """What a command prints, empty where it is missing, fails or takes too long."""
    import shutil
    import subprocess

    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def load_nvml() -> Any | None:
    """NVIDIA's management library, initialised; None without one or without a driver."""
    if _system() == "Linux" and not any(Path(place).exists() for place in NVIDIA_DRIVER):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        # NVML raises its own tree, the loader OSError; whatever it is, there is no NVIDIA GPU to speak to.
        return None
    return pynvml


def _system() -> str:
    import platform

    return platform.system()


def _environment() -> Mapping[str, str]:
    import os

    return os.environ


@dataclass(frozen=True, slots=True)
class Edge:
    """Everything outside that detection looks at: files under `root`, commands, NVML, the environment."""

    root: Path = Path("/")
    system: str = field(default_factory=_system)
    run: Callable[[list[str]], str] = run_command
    nvml: Callable[[], Any | None] = load_nvml
    environment: Mapping[str, str] = field(default_factory=_environment)

    def read(self, path: str) -> str:
        """A file's text, empty where it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return ""

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root, sorted."""
        try:
            return sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []

    def number(self, path: str) -> int | None:
        """A file that holds one number, None for any other."""
        text = self.read(path)
        return int(text, 0) if text[:2] == "0x" else int(text) if text.lstrip("-").isdigit() else None
