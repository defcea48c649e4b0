"""Every name that the page searches, in one document: models with their other names, devices, engines, precisions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sizer.advise.recipes import RECIPES
from sizer.device import catalogue as devices
from sizer.device.clouds import instances, named_classes
from sizer.engine.engines import engines
from sizer.model.read import catalogue as models
from sizer.tables import read_rows


def names(files: bool = False) -> dict[str, Any]:
    """What the page searches as its reader types. `files` says whether a MODEL may be a path."""
    return {
        "schema_version": 1,
        "models": _models(),
        "devices": _devices(),
        "engines": list(engines()),
        "recipes": list(RECIPES),
        "files": files,
    }


def _models() -> list[dict[str, Any]]:
    others: dict[str, list[str]] = defaultdict(list)
    for row in read_rows("model_aliases.csv"):
        others[row["model"]].append(row["alias"])
    return [
        {
            "id": entry.model_id,
            "params": entry.reference_params,
            "active": entry.active_params,
            "also": others.get(entry.model_id, []),
        }
        for entry in models.entries()
    ]


def _devices() -> list[dict[str, Any]]:
    """Devices, named classes and cloud instances that the page's list offers."""
    rows = [
        {
            "key": device.key,
            "name": device.name,
            "kind": device.kind,
            "memory_bytes": device.memory_bytes,
            "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s,
            "year": device.release_year,
        }
        for device in devices.search()
    ]
    named = {row["key"]: row for row in rows}
    rows += [{**named[item.key], "key": item.name, "name": item.name, "kind": "class"} for item in named_classes()]
    for item in instances():
        row = named.get(item.device_key)
        if row is not None:
            name = f"{item.cloud}:{item.name}"
            rows.append({**row, "key": name, "name": f"{name} ({item.count}x {row['name']})", "kind": "instance"})
    return rows
