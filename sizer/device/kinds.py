"""Classes that devices fall into: by memory, by maker, by generation."""

from __future__ import annotations

from functools import cache
from math import isfinite

from sizer.device.capability import cuda_capability
from sizer.device.records import Device, is_cpu
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import names_key, read_rows, row_of_key

X86_MAKERS = frozenset({"intel", "amd"})
_LAPTOP_PART = pattern(r"\b(?:core|ryzen)\b.*\d(?:[uyphvm]|h[sxkq]|[mq][mq]|g\d)\b")
"""What makers end the numbers of laptops' parts in (i7-8550U, i9-13980HX, i7-1165G7, Ryzen 7 7840U)."""


def memory_class(device: Device) -> str:
    """hbm, gddr, a chip's shared memory, or a CPU's: `laptop` of x86, whose makers tell the most that a part takes and
    whose owners have one channel or slower modules; any other is told as it is sold, and called `dimm`.

    The table names the type of every card; one that a user describes by its figures is of no class (`unnamed`), and has
    the constants that all share. A CPU whose bandwidth was measured is a class of its own:
    engines reach most of what a triad does, and less of what a specification says.
    """
    if is_cpu(device) and device.bandwidth_basis == "measured":
        return "measured"
    if is_cpu(device):
        return "laptop" if _is_x86_laptop(device) else "dimm"
    if device.kind != "gpu":
        return "shared"
    if device.memory_type:
        return "hbm" if "HBM" in device.memory_type.upper() else "gddr"
    return "unnamed"


def _is_x86_laptop(device: Device) -> bool:
    """Whether an x86 CPU is a laptop's, by its part number or its soldered memory."""
    if device.vendor not in X86_MAKERS:
        return False
    return "LPDDR" in device.memory_type or _LAPTOP_PART.search(device.name.lower()) is not None


def device_family(device: Device) -> str:
    """Devices that share a memory system and a maker: `nvidia-gddr`, `nvidia-hbm`, `apple`, `amd-apu`, `cpu-x86` …"""
    if is_cpu(device):
        return "cpu-apple" if device.vendor == "apple" else "cpu-x86" if device.vendor in X86_MAKERS else "cpu-arm"
    if device.kind == "gpu":
        return f"{device.vendor}-{memory_class(device)}"
    return f"{device.vendor}-{device.kind}" if device.kind != device.vendor else device.vendor


@cache
def _chips() -> dict[str, str]:
    return {row["key"]: row["chip"] for row in read_rows("same_chips.csv")}


def chip_of(key: str) -> str:
    """The device whose rows speak for this one too: the same chip on another board (`data/same_chips.csv`)."""
    return _chips().get(key, key)


class Die(NamedTuple):
    """A die that several boards are cut from: `year` is that of the first one, `watts_per_tflop` (of its fp32 peak)
    those of the most generous board with GDDR, None where none has it."""

    name: str
    year: int
    watts_per_tflop: float | None


@cache
def _dies() -> dict[str, Die]:
    """The dies of `data/same_dies.csv` by each chip that is cut from one."""
    found: dict[str, Die] = {}
    for row in read_rows("same_dies.csv"):
        watts = float(row["watts_per_tflop"]) if row["watts_per_tflop"] else None
        found.update(dict.fromkeys(row["chips"].split(), Die(row["die"], int(row["year"]), watts)))
    return found


def die_of(key: str) -> Die | None:
    """The die of a device, which other boards with more or fewer of its units share; None where no table tells it."""
    return _dies().get(chip_of(key))


CAPABILITIES = (7.5, 8.0, 8.9, 10.0)
"""The CUDA compute capabilities that Turing, Ampere, Ada (Hopper has 9.0) and Blackwell begin with
(developer.nvidia.com/cuda-gpus); what is older is one generation."""
NVIDIA_YEARS, OTHER_YEARS = (2018, 2020, 2022, 2025), (2021, 2023, 2025)
"""The years in which these four came, for cards whose capability no row tells; others' architectures come every two or
three years."""


def generation(device: Device) -> str:
    """The family with its architecture, by age: kernels change with it.

    A board may come years after its architecture (a GTX 1630 four after Turing, an RX 6750 XT two after RDNA 2): the
    compute capability tells NVIDIA's, `data/gpu_architectures.csv` others', and else the year of the die's first board.
    """
    return f"{device_family(device)}-{generation_number(device)}"


def generation_number(device: Device) -> int:
    """How many architectures of its family came before a device's."""
    told = None if is_cpu(device) else _architecture(device.vendor, device.key)
    if told is not None:
        return told
    die = die_of(device.key)
    year = die.year if die else device.release_year or 2021
    if device.vendor != "nvidia":
        return sum(year >= bound for bound in OTHER_YEARS)
    capability = cuda_capability(device)
    if isfinite(capability):
        return sum(capability >= bound for bound in CAPABILITIES)
    return sum(year >= bound for bound in NVIDIA_YEARS)


@cache
def _architecture(vendor: str, key: str) -> int | None:
    """The generation that a row of `data/gpu_architectures.csv` tells of a chip; None where none does."""
    for row in read_rows("gpu_architectures.csv"):
        if row["vendor"] == vendor and names_key(row["devices"], key):
            return int(row["generation"])
    return None


@cache
def instructions(key: str) -> str:
    """What the cores of a CPU multiply with, by its maker (`amd avx512`); empty where `data/cpu_instructions.csv` does
    not know it."""
    row = _instructions_row(key)
    return row["instructions"] if row else ""


def core_share(key: str) -> float:
    """What part of the usual FLOPs a cycle a CPU's core has, by its instructions: half where it runs them in halves."""
    row = _instructions_row(key)
    return float(row["core_share"] or 1) if row else 1.0


def efficient_share(key: str) -> float:
    """What part of a fast core's FLOPs an efficient core of a CPU of two kinds has."""
    row = _instructions_row(key)
    return float(row["efficient_share"] or 1) if row else 1.0


@cache
def _instructions_row(key: str) -> dict[str, str] | None:
    return row_of_key("cpu_instructions.csv", key)
