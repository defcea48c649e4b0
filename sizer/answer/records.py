"""An estimate: one model at one precision on one target."""

from __future__ import annotations

from sizer.device.records import Target
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.frozen import dataclass
from sizer.memory.case import Case
from sizer.memory.placement import max_context_tokens
from sizer.memory.records import Footprint, Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.precision.identity_cache import IdentityCache
from sizer.speed.records import Speculation, Speed
from sizer.workload import Workload

_LONGEST: IdentityCache[Case, int | None] = IdentityCache(256)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model at one precision on one target: memory, place and speed, and what was assumed for them.

    `speed` is None where the device's bandwidth is not known or nothing holds the model; `assumptions` say why.
    `case` is what was placed; `options` are what the engine's own flags said.
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
    case: Case
    speculation: Speculation | None = None
    assumptions: tuple[str, ...] = ()
    options: EngineOptions = NO_OPTIONS

    @property
    def max_context_tokens(self) -> int | None:
        """The longest context that fits, None where it cannot be told. A dozen placements tell it: when asked alone."""
        return _LONGEST.get(self.case, (), lambda: max_context_tokens(self.case, self.placement))
