"""A device's rates that the amounts of a step are relative to: its peak in FLOP/s and the bandwidth within reach."""

from __future__ import annotations

from functools import cache
from math import log

from sizer.device.cpu_cores import cores_of
from sizer.device.kinds import core_share, die_of, efficient_share
from sizer.device.records import Device, is_cpu
from sizer.errors import SizerError
from sizer.tables import row_of_key
from sizer.tuning import tuned

USUAL_CORES, USUAL_BANDWIDTH_BYTES_PER_S = 8, 8e10
"""A desktop: 8 cores on two channels of DDR5-5000 (80 GB/s)."""
VECTOR_FLOPS_PER_S, MATRIX_FLOPS_PER_S, VECTOR_POWER = 3.0e13, 1.5e14, 0.65
"""What vector units have beside a 16-bit peak, and the power that it grows with: fitted to the 326 accelerators of
data/devices.csv that tell both (two in three lie within a factor of 1.8): matrix units have outgrown the others."""
LESSER_POWER = 8
"""How a card's bandwidth and what its multiprocessors read add up: near the lesser one. With 2 an A100, whose rates are
alike, was told a fifth slow in vLLM and gpt-fast from the others."""
MATRIX_OVER_VECTOR = 4
"""The 16-bit peak over that in fp32: the median of data/devices.csv, at which both count alike."""


def nominal_flops_per_s(device: Device, accumulates: str = "fp32") -> float:
    """An accelerator's nominal dense peak: 16-bit, else twice the 32-bit, else what the bandwidth lets expect."""
    peaks = device.peak_flops_per_s
    faster = peaks.get("fp16_acc16") if accumulates == "fp16" else None
    known = faster or peaks.get("bf16") or peaks.get("fp16") or 2 * peaks.get("fp32", 0)
    return known or _fed_flops_per_s(device)


def vector_flops_per_s(device: Device) -> float:
    """An accelerator's fp32 peak, that of its vector units; where it is not told, what its 16-bit one lets expect."""
    told = device.peak_flops_per_s.get("fp32")
    return told or VECTOR_FLOPS_PER_S * (nominal_flops_per_s(device) / MATRIX_FLOPS_PER_S) ** VECTOR_POWER


def sustained_share(device: Device) -> float:
    """The share of its peak that a board's power sustains, beside the most generous board of its die.

    Power grows faster than the clock that it buys: a board with a share of that board's watts for each FLOP of its
    specification runs at a power of it (`sustained_power` of data/tuning.csv). An L4 (72 W) is the die of an RTX 4070
    Ti (285 W), and its peak is told at a clock that it does not hold. `watts_per_tflop` of `data/same_dies.csv` is that
    of boards with GDDR; others count as they are.
    """
    die, flops_per_s = die_of(device.key), device.peak_flops_per_s.get("fp32")
    if die is None or not die.watts_per_tflop or not flops_per_s or not device.tdp_w:
        return 1.0
    return float(min(1.0, device.tdp_w / (flops_per_s / 1e12) / die.watts_per_tflop) ** tuned("sustained_power"))


UNTOLD_PEAK = (0.340, 3.07)
"""Peak over what memory feeds: nine of ten GPUs of `data/devices.csv` lie between (the median is 1.17)."""


def peak_doubt(device: Device) -> tuple[float, float]:
    """How much slower and faster (as logarithms) a prompt may be read where an accelerator's peak is not known."""
    if is_cpu(device) or device.peak_flops_per_s:
        return 0.0, 0.0
    power = _exponents(device)[0]
    return -power * log(UNTOLD_PEAK[0]), power * log(UNTOLD_PEAK[1])


def prompt_flops_per_s(device: Device, accumulates: str = "fp32", products: str = "", reached: float = 1.0) -> float:
    """What a prompt's arithmetic is relative to: a weighted geometric mean of the peak, of what the memory feeds and of
    what the power sustains (`peak_power` and `fed_power` of data/tuning.csv, the rest to the power).

    The more a peak outruns the memory that feeds it and the watts that drive it, the less of it engines reach: clocks
    fall under load. Where the power is not told, the other two. A decode step's error is lowest with the peak alone.
    The peak is that of `products` (`fp8`) where the device has such, else the 16-bit one; `reached` is the share of it
    that the kernels' instructions reach (`instructions_share`).
    """
    peak, fed, sustained = _exponents(device)
    nominal = device.peak_flops_per_s.get(products) or nominal_flops_per_s(device, accumulates)
    found = (nominal * reached) ** peak * _fed_flops_per_s(device) ** fed
    return float(found * ((device.tdp_w or 1.0) * tuned("flops_per_joule")) ** sustained)


def _exponents(device: Device) -> tuple[float, float, float]:
    """To what powers the peak, what memory feeds and the power count: 1 together."""
    peak, fed = tuned("peak_power"), tuned("fed_power")
    if device.tdp_w:
        return peak, fed, 1 - peak - fed
    return peak / (peak + fed), fed / (peak + fed), 0.0


def _fed_flops_per_s(device: Device) -> float:
    return nominal_bytes_per_s(device) * tuned("fed_flops_per_byte")


def nominal_bytes_per_s(device: Device) -> float:
    """The bandwidth that a device is said to have. Raises SizerError where nothing tells it."""
    if not device.bandwidth_bytes_per_s:
        raise SizerError(
            f"the memory bandwidth of {device.name!r} is not known.", "Give --bandwidth, or run 'sizer probe'."
        )
    return device.bandwidth_bytes_per_s


def reachable_bytes_per_s(device: Device, threads: int | None = None) -> float:
    """The bandwidth that a step's memory traffic is relative to: the nominal one, less of it where few units read it
    and on wide CPUs.

    A multiprocessor keeps so many bytes in flight and reads no faster (`unit_bytes_per_s`, fitted; 28 GB/s are 17 KB in
    flight for 600 ns): an H20's 78 read its 4 TB/s no faster than the 108 of an A100 read 2
    (`data/reading_units.csv`).

    The more bandwidth a CPU's specification tells, the less of it its cores and their fabric reach: it counts to a
    power, equal at 60 GB/s (`cpu_bandwidth_power` of data/tuning.csv), and as far as its cores reach it where that is
    known (`data/cpu_shares.csv`). A core has so many lines in flight and reads no faster (`core_bytes_per_s`, fitted):
    few cores, or few `threads`, reach less; and cores that read together wait for the caches and the fabric that they
    share, so that they reach a power of their number (`core_bytes_power`). A measured bandwidth counts whole.
    """
    nominal = nominal_bytes_per_s(device)
    if not is_cpu(device):
        units = _reading_units(device.key)
        return _lesser(nominal, units * tuned("unit_bytes_per_s")) if units else nominal
    if device.bandwidth_basis == "measured":
        return nominal
    power = tuned("cpu_bandwidth_power")
    within_reach = nominal * _cores_share(device.key)
    working = min(threads or device.cores, device.cores) if device.cores else threads
    if working:
        together = working ** tuned("core_bytes_power") * tuned("core_bytes_per_s")
        within_reach = (within_reach**-2 + together**-2) ** -0.5
    return float(within_reach**power * tuned("cpu_reference_bytes_per_s") ** (1 - power))


def _lesser(*rates: float) -> float:
    """The least of some rates, and less than that where another is about as low."""
    return float(sum(rate**-LESSER_POWER for rate in rates) ** (-1 / LESSER_POWER))


@cache
def _reading_units(key: str) -> int:
    """How many multiprocessors of a card read its memory; 0 where no row tells."""
    row = row_of_key("reading_units.csv", key)
    return int(row["units"]) if row else 0


@cache
def _cores_share(key: str) -> float:
    """How much of a chip's bandwidth its CPU's cores together reach; all, where no row tells less."""
    row = row_of_key("cpu_shares.csv", key)
    return float(row["share"]) if row else 1.0


def cpu_flops_per_s(device: Device, threads: int | None = None) -> float:
    """Nominal fp32 peak of those cores of a CPU that compute: one a thread at most, the fastest first.

    The whole peak is that of the part's or the chip's cores (`data/cpu_cores.csv`, `data/chip_cores.csv`), else the
    table's or the user's, else 100 GFLOP/s a core. Where the table tells no cores, they are what the bandwidth lets
    expect: 8 at 80 GB/s, growing with its root (4 at 20 GB/s, 16 at 320 GB/s).
    """
    whole, kinds = device.peak_flops_per_s.get("fp32"), core_kinds(device.key)
    if kinds and not whole:
        return sum_of_fastest(kinds, threads)
    if own := part_kinds(device):
        return sum_of_fastest(own, threads) * _held_share(device)
    bandwidth = device.bandwidth_bytes_per_s or USUAL_BANDWIDTH_BYTES_PER_S
    usual = max(1.0, USUAL_CORES * (bandwidth / USUAL_BANDWIDTH_BYTES_PER_S) ** 0.5)
    cores = device.cores or max(usual, threads or 0)
    untold = cores * tuned("core_flops_per_s") * core_share(device.key)
    return (whole or untold) * min(threads or cores, cores) / cores


def part_kinds(device: Device) -> tuple[tuple[int, float], ...]:
    """The cores of an x86 CPU whose part number is known, as `core_kinds` has a chip's; none for others.

    All parts are told by one rule, so that none of two like ones is told by its lowest clock and the other by its
    highest: cores sustain less than the highest, in like proportion. A text that tells another number of cores (a
    slice, two sockets) has so many of the fast kind.
    """
    part = cores_of(device.vendor, device.name)
    if part is None or not is_cpu(device):
        return ()
    fast = tuned("core_flops_per_s") * core_share(device.key) * part.clock_hz / tuned("core_clock_hz")
    if device.cores not in {None, part.total}:
        return ((device.cores or part.total, fast),)
    slow = fast * efficient_share(device.key)
    return ((part.performance, fast), (part.efficient, slow))[: 2 if part.efficient else 1]


def _held_share(device: Device) -> float:
    """What share of the table's peak a device is left with, where a power limit took some of it."""
    from sizer.device import table

    number = table.by_key().get(device.key)
    listed = table.device(number).peak_flops_per_s.get("fp32") if number is not None else None
    return device.peak_flops_per_s.get("fp32", listed or 1.0) / listed if listed else 1.0


@cache
def core_kinds(key: str) -> tuple[tuple[int, float], ...]:
    """The cores of a chip whose table row tells another unit's peak or none, the fastest first: how many, and the fp32
    peak of one (`data/chip_cores.csv`: `4x2.4x16` are four of 16 FLOPs a cycle at 2.4 GHz); none where no row tells."""
    row = row_of_key("chip_cores.csv", key)
    kinds = [[float(figure) for figure in kind.split("x")] for kind in row["cores"].split()] if row else []
    return tuple(sorted(((int(n), ghz * 1e9 * flops) for n, ghz, flops in kinds), key=lambda kind: -kind[1]))


def fast_cores(device: Device) -> int | None:
    """How many cores of a CPU of two kinds are of the fast one; None for a part of one kind or of none known."""
    told, kinds = cores_of(device.vendor, device.name), core_kinds(device.key)
    if told:
        return told.performance if told.efficient else None
    return kinds[0][0] if len(kinds) > 1 else None


def sum_of_fastest(kinds: tuple[tuple[int, float], ...], threads: int | None) -> float:
    """The peaks of as many cores as threads compute on, of all without a number of threads."""
    left, total = threads or sum(n for n, _ in kinds), 0.0
    for n, flops_per_s in kinds:
        total += min(n, left) * flops_per_s
        left -= min(n, left)
    return total
