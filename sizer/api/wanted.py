"""What every decision asks besides its model: which way to lean, one target, and how much memory that has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizer.api.asked import MOST_RATE, check_number
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.printable import shown

if TYPE_CHECKING:
    from sizer.advise.recommend import Wanted
    from sizer.device.records import Target

MOST_LISTED = 10**6
"""More models or devices than any table holds: a larger limit is a slip."""


@dataclass(frozen=True, slots=True)
class WantedAsked:
    """Which way to lean, the decode tokens/s of a sequence to reach, and the highest loss (KL divergence) to take."""

    prefer: str = "balanced"
    min_speed: float | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        from sizer.advise.recommend import PREFERENCES

        if self.prefer not in PREFERENCES:
            raise UsageError(f"prefer is {self.prefer!r}.", f"It is one of {', '.join(PREFERENCES)}.")
        check_number("min-speed", self.min_speed, 0, MOST_RATE)
        check_number("max-loss", self.max_loss, 0, MOST_RATE)

    def wanted(self, *, offer: bool = False) -> Wanted:
        """The record of a decision; `offer`: precisions of a tolerable loss unless a limit was given."""
        from sizer.advise.recommend import TOLERABLE_LOSS, Wanted

        limit = TOLERABLE_LOSS if offer and self.max_loss is None else self.max_loss
        return Wanted(self.prefer, self.min_speed, limit)


def only(found: Sequence[Target]) -> Target:
    """The one target of a question about one machine. Raises UsageError for several: none is left out in silence."""
    if len(found) == 1:
        return found[0]
    asked = [target.asked for target in found]
    raise UsageError(
        f"this answers for one device, not for {len(found)}: {', '.join(map(shown, asked))}.",
        f"Ask for each; in one machine they are {shown(' + '.join(asked))}.",
    )


def require_known_memory(target: Target) -> None:
    """Raises UsageError where nobody knows how much memory a machine has: what fits cannot be told."""
    from sizer.advise.search import room
    from sizer.device.records import is_cpu

    if room(target) is None:
        beside, says = ("beside", "--ram") if is_cpu(target.device) else ("of", "--memory")
        raise UsageError(f"the memory {beside} {target.device.name} is not known.", f"{says} says it, as {says} 64GiB.")
