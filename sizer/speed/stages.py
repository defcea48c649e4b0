"""The time of a step, and how its stages share it."""

from __future__ import annotations

from sizer.frozen import NamedTuple, dataclass
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, ROOFLINE_POWER, Amount
from sizer.speed.records import StageTime
from sizer.speed.traffic import Traffic

LINK_TERMS = frozenset(
    {"ranks", "rows", "moved", "hops", "prefill_ranks", "prefill_moved", "prefill_rows", "prefill_host", "host_link"}
)


@dataclass(frozen=True, slots=True)
class Timed:
    """A step's time, and the weighed seconds of each of its terms."""

    total_s: float
    terms: tuple[tuple[Amount, float], ...]

    def part_s(self, part: str) -> float:
        """Seconds of the terms of one part."""
        return sum(time_s for amount, time_s in self.terms if amount.part == part)

    @property
    def bound(self) -> str:
        """What takes most of the step: bandwidth, compute, link or overhead."""
        link_s = sum(time_s for amount, time_s in self.terms if amount.term in LINK_TERMS)
        memory_s, compute_s = self.part_s(MEMORY), self.part_s(COMPUTE)
        overhead_s = sum(time_s for _, time_s in self.terms) - memory_s - compute_s - link_s
        sizes = {"bandwidth": memory_s, "compute": compute_s, "link": link_s, "overhead": overhead_s}
        return max(sizes, key=lambda name: sizes[name])


class Step(NamedTuple):
    """A step's traffic and time: what its time by stage is worked out of, for those who show it."""

    traffic: Traffic
    timed: Timed

    def stages(self, predicted_s: float) -> tuple[StageTime, ...]:
        """The time by stage, of `predicted_s` together."""
        return stages(self.traffic, self.timed, predicted_s)


def stages(traffic: Traffic, step: Timed, predicted_s: float) -> tuple[StageTime, ...]:
    """The step's time by stage: memory and compute by the stages' bytes and FLOPs, then launches and overheads by name.

    Memory, compute and launches overlap: each has its square's share of the time that the step takes for the three, as
    the law adds squares. The stages share that of memory and compute. What rows near the case say scales all alike.
    """
    memory_s, compute_s, launch_s = step.part_s(MEMORY), step.part_s(COMPUTE), step.part_s(LAUNCH)
    overhead = [(amount.term, time_s) for amount, time_s in step.terms if amount.part == OVERHEAD]
    overlapping_s = step.total_s - sum(time_s for _, time_s in overhead)
    seen = (launch_s / overlapping_s) ** (ROOFLINE_POWER - 1) if launch_s else 0.0
    moving_s = overlapping_s - launch_s * seen
    overhead += [(amount.term, time_s * seen) for amount, time_s in step.terms if amount.part == LAUNCH]
    nominal_bytes = traffic.bytes_read or 1
    nominal_flops = traffic.flops or 1
    moving = []
    for stage in traffic.stages:
        by_bytes, by_flops = memory_s * stage.bytes_read / nominal_bytes, compute_s * stage.flops / nominal_flops
        bound = "bandwidth" if by_bytes >= by_flops else "compute"
        moving.append((stage, max(by_bytes, by_flops), bound))
    whole_s = sum(time_s for _, time_s, _ in moving) or 1.0
    found = [
        StageTime(stage.stage, stage.bytes_read, stage.flops, time_s * moving_s / whole_s, bound)
        for stage, time_s, bound in moving
    ]
    found += [
        StageTime(name, 0, 0, time_s, "link" if name in LINK_TERMS else "overhead")
        for name, time_s in overhead
        if time_s
    ]
    scale = predicted_s / step.total_s
    return tuple(stage._replace(time_s=stage.time_s * scale) for stage in found)
