"""A predicted row as columns: the row's own cells, then what is predicted for it."""

from __future__ import annotations

from typing import Any

from sizer.calibrate.predictions import PredictedRow
from sizer.units import GIB, significant

SPEEDS = ("decode", "prefill")
RESOLVED_COLUMNS = tuple(f"resolved_{name}" for name in ("model", "device", "engine", "precision"))
SPEED_COLUMNS = {
    name: tuple(f"predicted_{name}_{bound}tokens_per_s" for bound in ("", "low_", "high_")) for name in SPEEDS
}
PREDICTED_COLUMNS = (
    *RESOLVED_COLUMNS,
    *(column for columns in SPEED_COLUMNS.values() for column in columns),
    "predicted_memory_gib",
    "predicted_fits",
    "reason",
)
"""What a swept row gains, in order."""


def wide_row(row: PredictedRow) -> dict[str, Any]:
    """Every cell of the row as it stands, the resolved names, and the predictions; empty where there is none."""
    seen, by_quantity = row.resolved, {one.quantity: one for one in row.predictions}
    names = (seen.architecture.model_id, seen.target.device.key, seen.engine, seen.precision) if seen else (None,) * 4
    found: dict[str, Any] = {**row.measurement.row, **dict(zip(RESOLVED_COLUMNS, names, strict=True))}
    for name, columns in SPEED_COLUMNS.items():
        one = by_quantity.get(name)
        bounds = (one.predicted, one.low, one.high) if one else (None,) * 3
        found.update(zip(columns, bounds, strict=True))
    memory = by_quantity.get("memory")
    found["predicted_memory_gib"] = memory.predicted / GIB if memory else None
    found["predicted_fits"] = row.fits
    found["reason"] = row.reason
    return found


def narrow_row(row: PredictedRow) -> dict[str, Any]:
    """The case and its decode, prefill and memory, as a reader wants them in a table."""
    seen, by_quantity = row.measurement, {one.quantity: one for one in row.predictions}
    found: dict[str, Any] = {
        "id": seen.id,
        "model": seen.model.rsplit("/", 1)[-1],
        "device": seen.device,
        "engine": row.resolved.engine if row.resolved else seen.engine,
        "precision": row.resolved.precision if row.resolved else seen.precision,
    }
    for name in SPEEDS:
        one = by_quantity.get(name)
        found[f"{name} tok/s"] = significant(one.predicted, 4) if one else None
    memory = by_quantity.get("memory")
    found["GiB"] = f"{memory.predicted / GIB:.2f}" if memory else None
    found["fits"] = None if row.fits is None else "yes" if row.fits else "no"
    found["reason"] = row.reason or None
    return found
