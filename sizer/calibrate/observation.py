"""What the fit sees of a measured row."""

from __future__ import annotations

from collections.abc import Mapping

from sizer.frozen import dataclass
from sizer.speed.law import Amount
from sizer.speed.nearby import Traits


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured time with the amounts that make it up.

    `quantity` is decode (a step) or prefill (a whole prompt). A request's step is told with its prompt: `seconds` are
    those of the whole by output token, `before` its prompt's amounts, and `outputs` its tokens. Where it is told
    `against` another step alone, `seconds` is the one's time over the other's. Rows that stand `apart` (it says why:
    `offload`, `aggregate`, `under load` …) teach the fit, and their errors are told apart. An `odd` one is impossible,
    and left out.
    """

    id: str
    quantity: str
    source: str
    device: str
    model: str
    engine: str
    family: str
    moe: bool
    seconds: float
    amounts: tuple[Amount, ...]
    groups: Mapping[str, str]
    owners: tuple[str, ...] = ()
    weight: float = 1.0
    apart: str = ""
    before: tuple[Amount, ...] = ()
    against: tuple[Amount, ...] = ()
    outputs: int = 1
    odd: str = ""
    traits: Traits | None = None
    hosted: bool = False
    tokens_per_s: float = 0.0

    @property
    def scored(self) -> bool:
        """Whether its error counts among the others."""
        return not self.apart
