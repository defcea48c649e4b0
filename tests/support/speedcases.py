"""Cases of the law of speed, by catalogued names."""

from __future__ import annotations

from sizer.device.catalogue import find
from sizer.device.records import Target
from sizer.engine.stored import store_for
from sizer.model.read.resolve import resolve
from sizer.speed.case import SpeedCase, speed_case
from sizer.workload import Workload

USUAL = Workload()


def case_of(
    model: str,
    device: str | Target,
    engine: str,
    precision: str,
    workload: Workload = USUAL,
    *,
    backend: str | None = None,
) -> SpeedCase:
    """A case of catalogued names, or on a target that a test has changed."""
    architecture = resolve(model, offline=True).architecture
    target = find(device) if isinstance(device, str) else device
    stored = store_for(architecture, precision, engine)
    return speed_case(architecture, stored, target, workload, engine, backend=backend)
