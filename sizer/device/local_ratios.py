"""What benchmarks showed on this machine: measured over predicted speed, kept beside the probe in the user's folder."""

from __future__ import annotations

import json

from sizer.device.machine import Machine
from sizer.device.measured import fingerprint, folder, is_positive, write
from sizer.device.records import LocalRatio

SCHEMA_VERSION = 1
MOST_KEPT = 200
"""Benchmarks kept, the newest: a machine's speed changes with its drivers and engines."""


def recall(machine: Machine) -> tuple[LocalRatio, ...]:
    """The ratios of this machine, oldest first; a file that cannot be read or trusted counts as none."""
    try:
        document = json.loads((folder() / _name(machine)).read_bytes())
        kept = document["ratios"] if document["schema_version"] == SCHEMA_VERSION else []
        ratios = tuple(
            LocalRatio(
                str(row["engine"]), str(row["precision"]), row["decode"], row["prefill"], str(row["measured_on"])
            )
            for row in kept
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(ratio for ratio in ratios if is_positive(ratio.decode) and is_positive(ratio.prefill))


def remember(machine: Machine, ratio: LocalRatio) -> None:
    """Keep one benchmark's ratios, whole or not at all. Raises OSError."""
    kept = [*recall(machine), ratio][-MOST_KEPT:]
    rows = [
        {
            "engine": item.engine,
            "precision": item.precision,
            "decode": item.decode,
            "prefill": item.prefill,
            "measured_on": item.measured_on,
        }
        for item in kept
    ]
    write(folder() / _name(machine), {"schema_version": SCHEMA_VERSION, "ratios": rows})


def _name(machine: Machine) -> str:
    return f"bench-{fingerprint(machine)}.json"
