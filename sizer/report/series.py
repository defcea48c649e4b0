"""Figures along an axis: memory and speed by context, latency and throughput by batch, the roofline's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.advise.recommend import waited_rate
from sizer.answer.estimate import estimate
from sizer.answer.loss import loss_of
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.frozen import dataclass
from sizer.speed.speculative import speedup_at
from sizer.units import GIB

SHORTEST_CONTEXT_TOKENS = 512
"""Where plots over the context begin, and the shares of accepted tokens of plots over them."""
ACCEPTANCES = tuple(step / 20 for step in range(21))
MOST_LINES = 8
"""Lines that a reader tells apart in one panel."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Sequences at once that a plot is drawn at."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: a label, and x and y of each point."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def question_of(item: Estimate) -> Question:
    """The question that an estimate answered."""
    return Question(
        item.architecture, item.target, item.precision, item.workload, engine=item.engine, stored=item.stored
    )


def device_of(item: Estimate) -> str:
    """`2 x rtx-4090`."""
    return f"{f'{item.target.count} x ' if item.target.count > 1 else ''}{item.target.device.key}"


def panels(items: Sequence[Estimate]) -> list[list[Estimate]]:
    """The estimates in groups that one panel holds, of eight lines at most: by model, and by device where those are
    more; small groups of one model share a panel."""
    by_case: dict[tuple[str, str], list[Estimate]] = {}
    for item in items:
        by_case.setdefault((item.architecture.model_id, device_of(item)), []).append(item)
    found: list[list[Estimate]] = []
    for (model, _), group in by_case.items():
        for start in range(0, len(group), MOST_LINES):
            part = group[start : start + MOST_LINES]
            shares = bool(found) and (len(items) <= MOST_LINES or found[-1][0].architecture.model_id == model)
            if shares and len(found[-1]) + len(part) <= MOST_LINES:
                found[-1] += part
            else:
                found.append(list(part))
    return found


def labels(items: Sequence[Estimate]) -> list[str]:
    """`q4_k_m on rtx-4090` for each, with the model's name and without the device where that tells them apart."""
    models = {item.architecture.model_id for item in items}
    devices = {device_of(item) for item in items}
    names = []
    for item in items:
        model = f"{item.architecture.model_id.rsplit('/', 1)[-1]} " if len(models) > 1 else ""
        device = f" on {device_of(item)}" if len(devices) > 1 or len(models) == 1 else ""
        names.append(f"{model}{item.precision}{device}")
    return names


def contexts(items: Sequence[Estimate]) -> tuple[int, ...]:
    """Doubling contexts from 512 to the longest that the models allow (131,072 where they do not say)."""
    longest = max(item.architecture.max_context_tokens or 131_072 for item in items)
    steps = [SHORTEST_CONTEXT_TOKENS]
    while steps[-1] * 2 <= longest:
        steps.append(steps[-1] * 2)
    return tuple(steps)


def _at_context(item: Estimate, context_tokens: int) -> Estimate:
    output_tokens = min(item.workload.output_tokens, context_tokens // 2)
    prompt_tokens = context_tokens - output_tokens
    workload = replace(
        item.workload, prompt_tokens=prompt_tokens, output_tokens=output_tokens, context_tokens=context_tokens
    )
    return estimate(replace(question_of(item), workload=workload))


def memory_by_context(items: Sequence[Estimate]) -> list[Series]:
    """Total memory in GiB with the whole context in the cache."""
    steps = contexts(items)
    return [
        Series(label, steps, tuple(_at_context(item, step).footprint.total_bytes / GIB for step in steps))
        for item, label in zip(items, labels(items), strict=True)
    ]


def speed_by_context(items: Sequence[Estimate]) -> list[Series]:
    """Decode tokens/s of one sequence with the context full; points where the model does not fit are left out, and all
    of one that decodes nothing."""
    lines = []
    for item, label in zip(items, labels(items), strict=True):
        steps = contexts(items) if item.architecture.decodes else ()
        found = [(step, waited_rate(_at_context(item, step))) for step in steps]
        lines.append(_series(label, [(step, rate) for step, rate in found if rate is not None]))
    return lines


def throughput_by_latency(items: Sequence[Estimate]) -> list[Series]:
    """For growing batches: one sequence's tokens/s against all sequences' together."""
    lines = []
    for item, label in zip(items, labels(items), strict=True):
        points = []
        for batch in BATCHES if item.architecture.decodes else ():
            asked = replace(question_of(item), workload=replace(item.workload, batch_size=batch))
            rate = waited_rate(estimate(asked))
            if rate is not None:
                points.append((rate, rate * batch))
        lines.append(_series(label, points))
    return lines


def roofline_points(items: Sequence[Estimate]) -> list[Series]:
    """Each estimate's decode step and prefill: FLOP per byte against TFLOP/s reached; none where it has no speed."""
    lines = []
    for item, label in zip(items, labels(items), strict=True):
        points = []
        both = (item.speed.decode_stages, item.speed.prefill_stages) if item.speed else ()
        for stages in both if item.architecture.decodes else both[1:]:
            bytes_read, flops = sum(stage.bytes_read for stage in stages), sum(stage.flops for stage in stages)
            seconds = sum(stage.time_s for stage in stages)
            if bytes_read and seconds:
                points.append((flops / bytes_read, flops / seconds / 1e12))
        lines.append(_series(label, points))
    return lines


def _series(label: str, points: Sequence[tuple[float, float]]) -> Series:
    return Series(label, tuple(x for x, _ in points), tuple(y for _, y in points))


def frontier_points(items: Sequence[Estimate]) -> list[tuple[str, float, float, float | None]]:
    """Each estimate's label, total GiB, KL divergence and decode tokens/s (an encoder's texts/s)."""
    return [
        (label, item.footprint.total_bytes / GIB, loss_of(item), waited_rate(item))
        for item, label in zip(items, labels(items), strict=True)
    ]


def gain_by_acceptance(items: Sequence[Estimate]) -> list[Series]:
    """How many times as fast decoding is with the draft, by the share of drafted tokens that is accepted."""
    lines = []
    for item, label in zip(items, labels(items), strict=True):
        gain = item.speculation
        told = tuple(speedup_at(gain, one) for one in ACCEPTANCES) if gain else ()
        lines.append(Series(label, ACCEPTANCES if gain else (), told))
    return lines
