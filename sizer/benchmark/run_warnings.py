"""The closed list of what can spoil a measurement, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from sizer.benchmark.records import Caution, Run

MAX_SPREAD = 0.10
"""Standard deviation over mean from which on a result is called unsteady, and the shortest run that is called long
enough."""
SHORTEST_RUN_S = 1.0
# A core's worth of foreign work, as a share of all cores, below which timings of other runs do not move visibly.
MAX_FOREIGN_CPU_SHARE = 0.10


class Warn(Enum):
    """Every warning that `sizer bench` can print: its code, and what to do about it."""

    OTHER_PROCESS = ("other-process", "Stop it, or choose another device with --device, and measure again.")
    NOISY = ("noisy", "Close other programs, raise --repeats, and trust the best run more than the median.")
    SWAPPING = ("swapping", "Use a smaller precision or free memory: the figures are the disk's, not the memory's.")
    THROTTLED = ("throttled", "Let the machine cool down, or raise its power limit, and measure again.")
    CPU_QUOTA = ("cpu-quota", "Raise the container's CPU quota, or set --threads to what it allows.")
    SPILLED = ("spilled", "Use a smaller precision or a larger device: part of the weights is read over the bus.")
    DEQUANTIZED = ("dequantized", "Use a device with kernels for this precision: here the weights became 16-bit ones.")
    SHORT_RUN = ("short-run", "Raise --output or --prompt, so that a run takes a second or more.")
    FEW_RUNS = ("few-runs", "Raise --repeats to 3 or more: without a spread nobody knows how sure the figure is.")
    ON_BATTERY = ("on-battery", "Plug the machine in: on battery its clocks are capped.")
    EARLY_STOP = ("early-stop", "This server does not take ignore_eos: the counted tokens are fewer than --output.")
    MERGED_TOKENS = ("merged-tokens", "This server sends several tokens an event: its inter-token times are means.")
    ONE_PIECE = ("one-piece", "Ask without a proxy that holds the stream back, or raise --output.")
    FEW_ANSWERS = ("few-answers", "Raise --duration: of so few answers a percentile is one request.")
    FAILED_REQUESTS = ("failed-requests", "Look at the server's log: the figures are of the answers that came.")

    def __init__(self, code: str, remedy: str) -> None:
        self.code = code
        self.remedy = remedy

    def caution(self, message: str) -> Caution:
        """This warning, with what was seen."""
        return Caution(self.code, message, self.remedy)


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation over the median; None with fewer than two values."""
    from statistics import median, stdev

    return stdev(values) / median(values) if len(values) > 1 and median(values) > 0 else None


def judge_runs(runs: Sequence[Run]) -> list[Caution]:
    """What the timings themselves tell: too few, too short, too far apart."""
    found = []
    if len(runs) < 2:
        found.append(Warn.FEW_RUNS.caution(f"{len(runs)} run: no spread can be told."))
    for phase, values in (("decode", [run.decode_s for run in runs]), ("prefill", [run.prefill_s for run in runs])):
        value = spread(values)
        if value is not None and value > MAX_SPREAD:
            found.append(Warn.NOISY.caution(f"{phase} times spread by {value:.0%} of their median."))
    shortest = min(run.prefill_s + run.decode_s for run in runs)
    if shortest < SHORTEST_RUN_S:
        found.append(Warn.SHORT_RUN.caution(f"the shortest run took {shortest * 1000:.0f} ms."))
    return found
