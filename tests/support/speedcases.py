"""Cases of the law of speed, by catalogued names."""

from __future__ import annotations

from sizer.device.catalogue import find
from sizer.engine.stored import store_for
from sizer.model.read.resolve import resolve
from sizer.speed.case import SpeedCase, speed_case
from sizer.workload import Workload


def case_of(model: str, device: str, engine: str, precision: str) -> SpeedCase:
    """A case of catalogued names."""
    architecture = resolve(model, offline=True).architecture
    return speed_case(architecture, store_for(architecture, precision, engine), find(device), Workload(), engine)
