"""An estimate: one model at one precision on one target."""

from __future__ import annotations

from sizer.device.records import Target
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.frozen import NamedTuple, dataclass
from sizer.memory.case import Case
from sizer.memory.placement import LONGEST_CONTEXT_TOKENS, max_context_tokens
from sizer.memory.records import Footprint, Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.precision.identity_cache import IdentityCache
from sizer.speed.records import Speculation, Speed
from sizer.workload import Workload

_LONGEST: IdentityCache[Case, int | None] = IdentityCache(256)


class Pace(NamedTuple):
    """What one waits for, a second, with its 90 % interval: tokens of one sequence, or an encoder's texts."""

    rate: float
    low: float | None
    high: float | None
    unit: str


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

    @property
    def takes_any_context(self) -> bool:
        """Whether no context is too long: the model states none, and what it keeps does not grow with it."""
        return (self.max_context_tokens or 0) >= LONGEST_CONTEXT_TOKENS

    @property
    def pace(self) -> Pace | None:
        """Decoded tokens/s of one sequence; for a model that writes none, texts of the prompt's length a second."""
        if self.speed is None:
            return None
        if self.architecture.decodes:
            decode = self.speed.decode
            return Pace(decode.tokens_per_s, decode.low_tokens_per_s, decode.high_tokens_per_s, "tokens/s")
        prefill = self.speed.prefill
        texts_per_s = self.workload.batch_size / prefill.ttft_s
        text_tokens = prefill.tokens_per_s / texts_per_s
        low, high = (end and end / text_tokens for end in (prefill.low_tokens_per_s, prefill.high_tokens_per_s))
        return Pace(texts_per_s, low, high, "texts/s")
