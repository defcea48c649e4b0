"""What the host's memory serves: the share of the weights that lies there, and how fast it is read."""

from __future__ import annotations

from sizer.speed.case import SpeedCase, standing
from sizer.speed.device_rates import cpu_flops_per_s
from sizer.speed.splits import tensor_ranks
from sizer.tuning import tuned


@standing
def host_share(case: SpeedCase) -> float:
    """Share of the model's weights that the host's memory serves, without an input table: of that a row a token."""
    placement = case.placement
    if placement is None or placement.host is None:
        return 0.0
    held = placement.host.weights_bytes - placement.host_tables_bytes
    total = held + sum(share.weights_bytes for share in placement.shares) - placement.added_bytes
    return held / total if total else 0.0


@standing
def cache_share_away(case: SpeedCase) -> float:
    """Share of the cache and the states that lies in the host's memory: that of its layers, or all of it by a flag."""
    placement = case.placement
    if placement is None or placement.host is None:
        return 0.0
    held = placement.host.cache_bytes
    total = held + sum(share.cache_bytes for share in placement.shares)
    return held / total if total else 0.0


def host_bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """Bandwidth of the host's memory, a desktop's where no host is known."""
    host = case.target.host
    if host is None or not host.bandwidth_bytes_per_s:
        return tuned("host_bytes_per_s")
    return host.bandwidth_bytes_per_s * case.target.host_count


def computes_on_host(case: SpeedCase) -> bool:
    """Whether what lies on the host is multiplied there (KTransformers' experts) instead of streamed to the device."""
    return case.backend.startswith("cpu+")


def host_flops_per_s(case: SpeedCase) -> float:
    """Nominal peak of the host's cores, one core's where no host is known.

    It is the table's or the user's where they tell one, whose width of vectors is in it: what a CPU's own instructions
    make of a prompt is fitted for CPUs alone.
    """
    host = case.target.host
    if host is None:
        return tuned("core_flops_per_s")
    return (host.peak_flops_per_s.get("fp32") or cpu_flops_per_s(host)) * case.target.host_count


def crosses_link(case: SpeedCase, tokens: int) -> bool:
    """Whether a step of so many tokens reads what lies on the host over the device's link: where an engine copies it
    there for each pass, or computes nothing on the host; elsewhere from as many tokens on as a prompt's chunk does."""
    if computes_on_host(case):
        return False
    if case.kernels.copies_offloaded or not case.engine.offload:
        return True
    return 1 < case.reading.streams_from_tokens <= tokens


@standing
def streaming_bytes_per_s(case: SpeedCase) -> float:
    """The rate at which a device reads what lies on the host: over its link (each rank over its own), or in place.

    A prompt does for each chunk, and each step of an engine that computes nothing on the host.
    """
    host = host_bandwidth_bytes_per_s(case)
    link = case.target.host_link_bytes_per_s
    return host if link is None or computes_on_host(case) else min(host, link * tensor_ranks(case))


def shares_away(case: SpeedCase, share: float) -> tuple[float, float]:
    """Shares of the experts' and of the other weights' traffic on the host."""
    if not share or case.placement is None or not case.placement.host_experts:
        return share, share
    expert_bytes = sum(part.size_bytes for part in case.stored.tensors if part.tensor.active_experts is not None)
    return min(1.0, share * case.stored.weights_bytes / max(1, expert_bytes)), 0.0
