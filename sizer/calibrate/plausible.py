"""Measured figures that no physics allows: told by rule, with the reason, and neither learned from nor scored."""

from __future__ import annotations

from sizer.speed.case import SpeedCase
from sizer.speed.chunks import Chunks
from sizer.speed.hosted import computes_on_host, host_share
from sizer.speed.predict import replicas
from sizer.speed.rates import format_flops_per_s, nominal_bandwidth_bytes_per_s
from sizer.speed.splits import tensor_ranks
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import Traffic
from sizer.tables import read_rows

DISK_BYTES_PER_S = 1.5e9
"""A slow solid-state disk. A step that takes longer than reading the whole model from it was not the device's."""
READ_MARGIN, PRODUCTS_MARGIN = 1.3, 1.25
"""How far beyond the specification a figure may lie: caches beside the memory, clocks above the nominal. Of the rows of
one sequence, all but one (1.45: a draft that is not told) lie below 1.2 times their bandwidth. No prompt of
data/measurements.csv comes nearer to a peak than 0.77, but cached ones."""


def impossible_decode(case: SpeedCase, traffic: Traffic, step_s: float) -> str:
    """Why no device of this specification makes this step in this time; empty where one may."""
    name, told = case.device.name, f"a step of {step_s * 1e3:.3g} ms"
    if case.workload.batch_size == 1:
        if not _hosted(case) and step_s < traffic.bytes_read / (nominal_bandwidth_bytes_per_s(case) * READ_MARGIN):
            return f"{told} is faster than {name} can read the weights and the cache"
        if _hosted(case) and not case.engine.offload:
            crossing_s = sum(one.least_s for one in decode_amounts(case, traffic) if one.term == "host_link")
            if step_s < crossing_s / READ_MARGIN:
                return f"{told} is faster than the link to {name} brings what lies on the host"
    longest_s = case.stored.weights_bytes / DISK_BYTES_PER_S
    if step_s > max(1.0, longest_s):
        return f"a step of {step_s:.3g} s is slower than reading the whole model from a disk"
    return ""


def impossible_prompt(case: SpeedCase, traffic: Traffic, chunks: Chunks, prompt_s: float) -> str:
    """Why no device of this specification reads this prompt in this time; empty where one may.

    Figures like these are of prompts that were in the cache already.
    """
    peaks, name = case.device.peak_flops_per_s, case.device.name
    if case.device.kind == "cpu":
        return ""
    told = f"{traffic.tokens / prompt_s:,.0f} tokens/s of prompt"
    if peaks and prompt_s < traffic.flops / (max(peaks.values()) * len(case.devices) * PRODUCTS_MARGIN):
        return f"{told} take more products than {name} can do"
    once_s = traffic.weight_bytes / chunks.passes / nominal_bandwidth_bytes_per_s(case)
    if not _hosted(case) and prompt_s < once_s / READ_MARGIN:
        return f"{told} leave {name} no time to read the weights once"
    longest_s = chunks.passes * max(1.0, case.stored.weights_bytes / DISK_BYTES_PER_S)
    if _hosted(case) and not computes_on_host(case) and prompt_s > longest_s:
        return f"{told} are slower than reading the whole model from a disk for each chunk"
    return ""


UNREAD = "its prompts were not read, but found in a cache"


def impossible_request(case: SpeedCase, step: Traffic, prompts: Traffic, request_s: float) -> str:
    """Why no device of this specification reads the prompts and decodes the answers of these requests in this time;
    empty where one may. Its products are at most those of the format that its weights are multiplied in."""
    outputs = max(1, case.workload.output_tokens)
    devices = len(case.devices) // (tensor_ranks(case) * replicas(case))
    peak = format_flops_per_s(case) * devices * PRODUCTS_MARGIN
    if case.device.kind == "cpu" or request_s * peak >= step.flops * outputs + prompts.flops:
        return ""
    return f"requests of {request_s:.3g} s take more products than {case.device.name} can do: {UNREAD}"


def unlike_prompts(case: SpeedCase, told_tokens: int | None) -> str:
    """Why several prompts tell no speed: those of a data set (without a context that a row tells) differ in length, and
    an engine that fills a batch up to the longest reads more than the row counts."""
    padded = {row["engine"] for row in read_rows("padded_batches.csv")}
    if case.workload.batch_size == 1 or told_tokens is not None or case.engine.name not in padded:
        return ""
    return f"{case.engine.name} fills a batch up to its longest prompt, and the row tells the mean of a data set's"


def _hosted(case: SpeedCase) -> bool:
    return case.placement is not None and case.placement.host is not None


def unknown_share(case: SpeedCase) -> str:
    """Why an offloaded row teaches nothing: it fits the device, so how much was left on the host is anyone's guess."""
    if host_share(case):
        return ""
    return f"part of it is said to lie on the host, and {case.device.name} holds all of it: the share is not told"
