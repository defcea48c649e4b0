"""What is asked of a server: a load or none, limits, prices, a day. Valid from birth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.serving.load import MOST_RATE, Load
from sizer.serving.records import Limits

MOST_MACHINES = 100_000
"""More machines than any cluster has: a slip."""


@dataclass(frozen=True, slots=True)
class ServingAsked:
    """What is asked of the server. `users` at once or `rps` requests a second; neither: the most within the limits.

    `prices` are USD an hour by device key (an empty key: any device). `arrivals` are requests a second by hour of a
    day. `apart` asks for prompts on devices of their own.
    """

    users: int | None = None
    rps: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    percentile: str = "p90"
    prefix_hit: float = 0.0
    shared_tokens: int = 0
    replicas: int | None = None
    machines: int | None = None
    prices: Mapping[str, float] | None = None
    arrivals: Sequence[tuple[float, float]] = ()
    apart: bool = False

    def __post_init__(self) -> None:
        for name, count in (("replicas", self.replicas), ("machines", self.machines)):
            if count is not None and not (isinstance(count, int) and 1 <= count <= MOST_MACHINES):
                raise UsageError(f"--{name} {count} is no whole number from 1 to {MOST_MACHINES:,}.")
        if not all(_is_hour(pair) for pair in self.arrivals):
            raise UsageError(
                f"an hour's requests a second are not between 0 and {MOST_RATE:,.0f}.",
                "Give pairs of an hour and its requests a second.",
            )
        if self.users is not None and self.rps is not None:
            raise UsageError("--users and --rps say how much is asked twice.", "Leave one of them out.")

    def load(self, prompt_tokens: int, output_tokens: int) -> Load:
        """The load of one user; what is asked is checked with it. Raises UsageError for no users or a negative rate."""
        load = Load(prompt_tokens, output_tokens, users=1, prefix_hit=self.prefix_hit, shared_tokens=self.shared_tokens)
        if self.users is not None or self.rps is not None:
            replace(load, users=self.users, rate_per_s=self.rps)
        return load

    @property
    def limits(self) -> Limits:
        """The limits on both times."""
        return Limits(self.ttft_s, self.tpot_s, self.percentile)


def _is_hour(pair: object) -> bool:
    """Whether it is an hour with its requests a second."""
    if not (isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(one, (int, float)) for one in pair)):
        return False
    return bool(0 <= pair[1] <= MOST_RATE)
