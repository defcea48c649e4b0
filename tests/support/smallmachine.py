"""A small known machine, whose probes tests make and read."""

from __future__ import annotations

from typing import Any

from sizer.device.machine import Machine
from sizer.units import GIB


def machine(**facts: Any) -> Machine:
    """A small known machine."""
    known = {"os": "Linux", "cpu": "AMD EPYC 9654 96-Core Processor", "cores": 2, "threads": 2, "usable_cores": 2.0}
    return Machine(**{**known, "memory_bytes": 8 * GIB, **facts})
