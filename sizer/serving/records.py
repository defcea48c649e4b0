"""What a capacity is: rows of users or rates, and the answer around them. Field names are those of the JSON."""

from __future__ import annotations

from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.serving.simulated import Percentiles

LONGEST_LIMIT_S = 1e6
"""Eleven days: a longer wait is a slip."""
PERCENTILES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Limits:
    """What users accept: times to the first token and per output token, at one of the percentiles. None: any."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    percentile: str = "p90"

    @property
    def any(self) -> bool:
        """Whether anything is asked."""
        return self.ttft_s is not None or self.tpot_s is not None

    def __post_init__(self) -> None:
        for name, limit in (("ttft", self.ttft_s), ("tpot", self.tpot_s)):
            if limit is None:
                continue
            if not (isinstance(limit, (int, float)) and 0 < limit <= LONGEST_LIMIT_S):
                told = f"{limit:g} s" if isinstance(limit, float) else shown(limit)
                bounds = f"a time above 0 and up to {LONGEST_LIMIT_S:,.0f} s"
                raise UsageError(f"--{name} {told} is not {bounds}.", f"Give --{name} 1s or 50ms.")
        if self.percentile not in PERCENTILES:
            raise UsageError(f"{self.percentile!r} is no percentile here.", f"It is one of {', '.join(PERCENTILES)}.")


@dataclass(frozen=True, slots=True)
class ServedRow:
    """What so many users see, all replicas together. `low` and `high` hold 90 % of servers about the medians.

    `users` is how many are served at once: those asked for, or at a rate of requests the mean of those in the
    system. Costs are None where no price is known; the cost of input and output tokens parts the engine's time
    between reading prompts and generating.
    """

    users: int
    replicas: int
    ttft_s: Percentiles
    tpot_s: Percentiles
    low_ttft_s: float
    high_ttft_s: float
    low_tpot_s: float
    high_tpot_s: float
    throughput_tokens_per_s: float
    requests_per_s: float
    kv_used_fraction: float
    usd_per_hour: float | None
    usd_per_million_tokens: float | None
    meets: bool
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None
    machines: int = 1
    preemptions: int = 0
    waiting_fraction: float = 0.0
    fails: tuple[str, ...] = ()
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a day: what arrives, and how many machines serve it within the limits."""

    hour: float
    requests_per_s: float
    machines: int


@dataclass(frozen=True, slots=True)
class Day:
    """A day's arrivals: machines at its peak, machine hours if they follow it hour by hour, and what both cost a day
    and a million generated tokens, hours of few requests in it."""

    hours: tuple[Hour, ...]
    requests: float
    peak_machines: int
    machine_hours: float
    usd_per_day_peak: float | None
    usd_per_day_following: float | None
    usd_per_million_tokens_peak: float | None
    usd_per_million_tokens_following: float | None


@dataclass(frozen=True, slots=True)
class Apart:
    """Prompts read on devices of their own: the split told by arithmetic on the same step law, its times simulated."""

    prefill_devices: int
    decode_devices: int
    requests_per_s: float
    users: int
    transfer_s: float
    ttft_s: Percentiles
    tpot_s: Percentiles
    basis: str = "arithmetic"


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer of `sizer capacity` for one machine; `machines` is 0 where no number of them meets the limits."""

    model: str
    device: str
    devices: int
    engine: str
    precision: str
    parallelism: str
    replicas: int
    prompt_tokens: int
    output_tokens: int
    percentile: str
    ttft_limit_s: float | None
    tpot_limit_s: float | None
    kv_capacity_tokens: int | None
    serving: tuple[ServedRow, ...]
    max_users: int
    binding: str
    max_requests_per_s: float | None
    machines: int
    price: str | None
    assumptions: tuple[str, ...]
    basis: str = "calibrated"
    day: Day | None = None
    disaggregated: Apart | None = None
    met: bool = True
    """Whether the limits, where there are any, hold for the load asked for on the machines asked for."""
    schema_version: int = 1
