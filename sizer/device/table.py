"""The rows of `data/devices.csv` as `Device` records, read once and built when asked for."""

from __future__ import annotations

import csv
from functools import cache

from sizer.device.records import Device
from sizer.tables import opened
from sizer.units import GB, GIB, TB

# Column of a dense peak -> number format. Columns are in T(FL)OPS.
PEAK_COLUMNS = {
    "fp32_tflops": "fp32",
    "fp16_tflops": "fp16",
    "bf16_tflops": "bf16",
    "fp16_acc16_tflops": "fp16_acc16",
    "int8_tops": "int8",
    "fp8_tflops": "fp8",
    "fp4_tflops": "fp4",
}


@cache
def table() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Header and rows of the device table. `csv.reader` alone: a lookup must not pay for 600 dictionaries."""
    with opened("devices.csv") as lines:
        header, *rows = (tuple(row) for row in csv.reader(lines))
    return header, tuple(rows)


@cache
def by_key() -> dict[str, int]:
    """Row number of each key."""
    return {row[0]: number for number, row in enumerate(table()[1])}


def spellings(number: int) -> tuple[str, ...]:
    """Key, name and aliases of a row."""
    key, name, aliases = table()[1][number][:3]
    return (key, name, *(alias for alias in aliases.split("|") if alias))


@cache
def device(number: int) -> Device:
    """The record of one row."""
    header, rows = table()
    row = dict(zip(header, rows[number], strict=True))
    options = tuple(int(float(size) * GIB) for size in row["memory_gb"].split("/") if size)
    peaks = {name: float(row[column]) * TB for column, name in PEAK_COLUMNS.items() if row[column]}
    return Device(
        key=row["key"],
        name=row["name"],
        vendor=row["vendor"],
        kind=row["kind"],
        memory_bytes=max(options, default=None),
        bandwidth_bytes_per_s=_scaled(row["bandwidth_gbs"], GB),
        peak_flops_per_s=peaks,
        memory_type=row["mem_type"],
        interconnect_bytes_per_s=_scaled(row["interconnect_gbs"], GB),
        pcie=row["pcie"],
        tdp_w=_scaled(row["tdp_w"], 1),
        release_year=int(row["release_year"]) if row["release_year"] else None,
        price_usd_launch=_scaled(row["price_usd_launch"], 1),
        source=row["source"],
        memory_options_bytes=options if len(options) > 1 else (),
        mem_channels=int(row["mem_channels"]) if row["mem_channels"] else None,
        mem_mts=int(row["mem_mts"]) if row["mem_mts"] else None,
        cores=int(row["cores"]) if row["cores"] else None,
    )


def all_devices() -> tuple[Device, ...]:
    """Every device of the table, in its order."""
    return tuple(device(number) for number in range(len(table()[1])))


def _scaled(text: str, scale: int) -> float | None:
    return float(text) * scale if text else None
