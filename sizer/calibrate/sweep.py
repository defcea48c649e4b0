"""A predicted row as columns: the row's own cells, then what is predicted for it."""

from __future__ import annotations

from typing import Any

from sizer.calibrate.predictions import PredictedRow
from sizer.units import GIB

SPEEDS = ("decode", "prefill")


def wide_row(row: PredictedRow) -> dict[str, Any]:
    """Every cell of the row as it stands, the resolved names, and the predictions; empty where there is none."""
    found: dict[str, Any] = dict(row.measurement.row)
    resolved = row.resolved
    found["resolved_model"] = resolved.architecture.model_id if resolved else None
    found["resolved_device"] = resolved.target.device.key if resolved else None
    found["resolved_engine"] = resolved.engine if resolved else None
    found["resolved_precision"] = resolved.precision if resolved else None
    by_quantity = {one.quantity: one for one in row.predictions}
    for name in SPEEDS:
        one = by_quantity.get(name)
        found[f"predicted_{name}_tokens_per_s"] = one.predicted if one else None
        found[f"predicted_{name}_low_tokens_per_s"] = one.low if one else None
        found[f"predicted_{name}_high_tokens_per_s"] = one.high if one else None
    memory = by_quantity.get("memory")
    found["predicted_memory_gib"] = memory.predicted / GIB if memory else None
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
        found[f"{name} tok/s"] = f"{one.predicted:.4g}" if one else None
    memory = by_quantity.get("memory")
    found["GiB"] = f"{memory.predicted / GIB:.2f}" if memory else None
    found["reason"] = row.reason or None
    return found
