"""What a simulation of many users saw, and the percentiles of it."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation saw. Times in seconds, one a request in order of arrival; fractions of the cache's tokens.

    `busy_s` is time that the engine spent in steps, `decode_steps` how many tokens each running sequence gained in
    all, `mean_running` the mean number of requests in the system (arrived, not yet answered).
    """

    ttft_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    latency_s: tuple[float, ...]
    output_tokens: int
    prompt_tokens: int
    elapsed_s: float
    busy_s: float
    preemptions: int
    kv_used_fraction: float
    kv_peak_fraction: float
    mean_running: float
    mean_decoding: float
    finished: int
    steady_requests_per_s: float = 0.0
    """Requests a second between the first fifth of the ends and the last arrival, after which the server empties."""
    prompt_share: float = 0.0
    """Share of the engine's time that reading prompts added to its steps."""
    blocked_by_cache: int = 0
    blocked_by_sequences: int = 0
    """How often the first of the queue could not start: for want of cache, or of a sequence's place."""
    waited: tuple[tuple[float, ...], ...] = ()
    decoded: tuple[tuple[float, ...], ...] = ()
    """Counts (`COUNTS`) of each request from its arrival to its first token, and from there to its end."""

    @property
    def throughput_tokens_per_s(self) -> float:
        """Generated tokens a second, all sequences together."""
        return self.output_tokens / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def requests_per_s(self) -> float:
        """Requests answered a second."""
        return self.finished / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds that half, nine tenths, 95 and 99 of a hundred do not pass, linear between neighbours."""

    p50: float
    p90: float
    p95: float
    p99: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Those that are told of each time. Raises IndexError without values."""
    return Percentiles(*(percentile(values, share) for share in (0.5, 0.9, 0.95, 0.99)))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, interpolated between neighbours. Values in any order."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
