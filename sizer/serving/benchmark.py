"""What a closed-loop benchmark reports of a simulated server: means over a burst at its start and the steady rest.

The benchmarks behind `data/serving.csv` send ten requests a user: the first of each user all at once, so a tenth of
the requests queue behind the whole burst. A simulation of three a user shows both; the means weigh them one to nine.
"""

from __future__ import annotations

from collections.abc import Sequence

from sizer.frozen import NamedTuple
from sizer.serving.simulated import Simulated

BURST_SHARE = 0.1
"""One request in ten comes in the first burst: the benchmark behind data/serving.csv sends ten requests a user, the
first of all users together (docs/serving.md)."""
REQUESTS_PER_USER, LEAST_REQUESTS, MOST_REQUESTS = 3, 48, 6000
"""Requests to simulate: after three a user the means stand, few users need more for it, and many take too long."""


class Means(NamedTuple):
    """Mean time to the first token and per output token of a benchmark, seconds; the mean counts behind them, and
    the mean number of sequences decoding."""

    ttft_s: float
    tpot_s: float
    waited: tuple[float, ...]
    decoded: tuple[float, ...]
    decoding: float


def requests_of(users: int) -> int:
    """How many requests to simulate of a benchmark with so many users."""
    return min(MOST_REQUESTS, max(LEAST_REQUESTS, REQUESTS_PER_USER * users))


def means(seen: Simulated, users: int, burst_share: float = BURST_SHARE) -> Means:
    """The means that a benchmark would report of whose requests `burst_share` came all together, `users` of them."""
    burst = min(users, len(seen.ttft_s))

    def weighed(values: Sequence[float]) -> float:
        steady = values[burst:] or values
        return burst_share * sum(values[:burst]) / burst + (1 - burst_share) * sum(steady) / len(steady)

    counts = range(len(seen.waited[0]))
    tpot = seen.tpot_s or (0.0,)
    return Means(
        weighed(seen.ttft_s),
        sum(tpot) / len(tpot),
        tuple(weighed([one[index] for one in seen.waited]) for index in counts),
        tuple(sum(one[index] for one in seen.decoded) / len(seen.decoded) for index in counts),
        seen.mean_decoding,
    )
