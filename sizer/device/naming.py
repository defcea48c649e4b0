"""One name of a machine's device: what `find` takes back to the same device, and the line that adds it to the table."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

from sizer.device import table as rows
from sizer.device.chip_parts import UNIFIED_KINDS
from sizer.device.cpu_generations import family_keys
from sizer.device.lookup import Found
from sizer.device.records import Device, Target
from sizer.device.spelling import spell
from sizer.printable import one_line
from sizer.regex import pattern
from sizer.units import GB, GIB, TB

TRIAD = "triad"
_UNLISTED = pattern(r"(?P<name>.+?)\s*\(unlisted (?P<kind>cpu|gpu|npu|tpu)(?P<facts>[^()]*)\)", re.IGNORECASE)


def is_listed(device: Device) -> bool:
    """Whether the tables have the device, as a row or as a member of a family of CPUs."""
    return device.key in rows.by_key() or device.key in family_keys()


def name_of(target: Target) -> str:
    """What a saved row calls the target's device: `find` makes the same device of it, on any machine.

    The table's name, with what was read here: a CPU's cores and its bandwidth (`triad` where the probe measured it),
    the memory of a chip that is sold with several sizes. A device that no table has is described whole:
    `KX-7000 (unlisted cpu, 8-core, 21.4 GB/s triad)`.
    """
    device = target.device
    if not is_listed(device):
        return _described(device)
    if device.kind == "cpu":
        return " ".join([_table_name(device), *_read_here(device)])
    if device.kind in UNIFIED_KINDS:
        memory = [f"{device.memory_bytes / GIB:.6g}GB"] if device.memory_bytes and _is_sold_in_sizes(device) else []
        return " ".join([_table_name(device), *memory, *_rate(device)])
    return device.name


def _is_sold_in_sizes(device: Device) -> bool:
    """Whether the table leaves its memory open: a family's is as that of the chips that it has."""
    number = rows.by_key().get(device.key)
    return number is None or bool(rows.device(number).memory_options_bytes)


def slug(name: str) -> str:
    """A key made of a name: its letters and digits, with a hyphen between words."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-") or "unknown"


def _table_name(device: Device) -> str:
    """The key of a chip (its names tell the GPU), the name of a family, the row's own of a CPU."""
    number = rows.by_key().get(device.key)
    if number is None:
        return device.key
    row = rows.device(number)
    return f"{device.key} CPU" if device.kind == "cpu" != row.kind else device.key if row.kind != "cpu" else row.name


def _read_here(device: Device) -> list[str]:
    cores = [f"{device.cores}-core"] if device.cores else []
    return [*cores, *_rate(device)]


def _rate(device: Device) -> list[str]:
    """The bandwidth where it is not the specification's."""
    if not device.bandwidth_basis or not device.bandwidth_bytes_per_s:
        return []
    rate = f"{device.bandwidth_bytes_per_s / GB:.4g} GB/s"
    return [f"{rate} {TRIAD}" if device.bandwidth_basis == "measured" else rate]


def _described(device: Device) -> str:
    facts = [f"unlisted {device.kind}", *_read_here(device)]
    if device.memory_bytes and device.kind != "cpu":
        facts.append(f"{device.memory_bytes / GIB:.4g}GB")
    return f"{re.sub(r'[()]', ' ', device.name).strip()} ({', '.join(facts)})"


def find_described(text: str) -> Found | None:
    """The device that `name_of` described because no table has it; None for other text."""
    match = _UNLISTED.fullmatch(text.strip())
    if match is None:
        return None
    facts = spell(match["facts"]).facts
    device = Device(
        key=slug(match["name"]),
        name=match["name"],
        vendor=next(iter(sorted(spell(match["name"]).vendors)), ""),
        kind=match["kind"].casefold(),
        memory_bytes=int(facts.memory_gib * GIB) if facts.memory_gib else None,
        bandwidth_bytes_per_s=facts.bandwidth_gbs * GB if facts.bandwidth_gbs else None,
        cores=facts.cores,
        source="its own name",
    )
    basis = "measured" if facts.measured else "stated"
    device = replace(device, bandwidth_basis=basis if facts.bandwidth_gbs else "")
    return Found(device, (f"{match['name']!r} is not in the table: its figures are those of its name",))


def table_line(device: Device) -> str:
    """The line that adds an unlisted device to `data/devices.csv`, with what is known; the rest is left to fill in."""
    known: dict[str, object] = {
        "key": device.key,
        "name": device.name,
        "vendor": device.vendor,
        "kind": device.kind,
        "memory_gb": f"{device.memory_bytes / GIB:.4g}" if device.memory_bytes and device.kind != "cpu" else "",
        "bandwidth_gbs": f"{device.bandwidth_bytes_per_s / GB:.4g}" if device.bandwidth_bytes_per_s else "",
        "pcie": device.pcie,
        "mem_channels": device.mem_channels,
        "mem_mts": device.mem_mts,
        "cores": device.cores,
        "source": device.bandwidth_basis or "to be named",
    }
    for column, number_format in rows.PEAK_COLUMNS.items():
        peak = device.peak_flops_per_s.get(number_format)
        known[column] = f"{peak / TB:.4g}" if peak else ""
    header, _ = rows.table()
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([_filled(known.get(column)) for column in header])
    return out.getvalue()


def _filled(value: object) -> object:
    """A cell: what a driver told may hold control characters, and Python 3.10's `csv` writes no NUL."""
    return "" if value is None else one_line(value) if isinstance(value, str) else value
