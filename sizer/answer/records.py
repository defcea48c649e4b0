"""An estimate: one model at one precision on one target."""

from __future__ import annotations

from dataclasses import dataclass

from sizer.device.records import Target
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.memory.records import Footprint, Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.speed.records import Speculation, Speed
from sizer.workload import Workload


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model at one precision on one target: memory, place and speed, and what was assumed for them.

    `speed` is None where the device's bandwidth is not known or nothing holds the model; `assumptions` say why.
    `max_context_tokens` is the longest context that fits, None where it cannot be told. `options` are what the engine's
    own flags said.
    """

    architecture: Architecture
    target: Target
    engine: str
    precision: str
    workload: Workload
    stored: Stored
    footprint: Footprint
    placement: Placement
    speed: Speed | None
    max_context_tokens: int | None
    speculation: Speculation | None = None
    assumptions: tuple[str, ...] = ()
    options: EngineOptions = NO_OPTIONS
