"""Classes that devices fall into: by memory, by maker, by generation."""

from __future__ import annotations

from functools import cache

from sizer.device.records import Device, is_cpu
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import matches, read_rows

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


def generation(device: Device) -> str:
    """The family with the years of its architecture: kernels change with it.

    A board may come years after its die (an A800 two after the A100): the die's first one tells, where it is known.
    """
    die = die_of(device.key)
    year = die.year if die else device.release_year or 2021
    # Turing, Ampere, Ada and Hopper, Blackwell; the others' architectures come every two or three years.
    bounds = (2018, 2020, 2022, 2025) if device.vendor == "nvidia" else (2021, 2023, 2025)
    return f"{device_family(device)}-{sum(year >= bound for bound in bounds)}"


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


@cache
def _instructions_row(key: str) -> dict[str, str] | None:
    rows = read_rows("cpu_instructions.csv")
    return next((row for row in rows if any(matches(one, key) for one in row["devices"].split())), None)
