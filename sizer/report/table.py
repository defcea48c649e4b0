"""Estimates as tables for people, at most 100 columns wide, and as flat rows for scripts."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.answer.measured import MeasuredRow, measured_rows
from sizer.answer.records import Estimate
from sizer.device.records import Target, shares_memory
from sizer.device.usable import free_memory_bytes
from sizer.memory.placement import LONGEST_CONTEXT_TOKENS
from sizer.memory.records import Placement
from sizer.model.architecture import Architecture
from sizer.printable import one_line
from sizer.report.layout import Lay, text_table
from sizer.units import format_bandwidth, format_count, format_gib, format_rate, format_seconds, format_tokens

LEAST_DEPTH = 2048
"""A context that is shorter slows nothing worth telling."""
TOLD_BELOW = 0.995
"""Usable memory is told beside a device's label where it is less than this share of it."""
MEASURED = "\u2713"
MOST_NOTES = 5
"""Notes below a table; `--explain` has all."""
HEADERS = ("precision", "engine", "weights", "total", "fits", "max ctx", "decode tok/s", "TTFT")


def gib(size_bytes: float | None) -> str:
    """GiB with two decimals, or a dash."""
    return "-" if size_bytes is None else f"{size_bytes / 2**30:.2f}"


def fits_text(placement: Placement, architecture: Architecture) -> str:
    """`yes`, `-3.10 GiB`, `20/48 layers` or `20/48 experts` (on the device, the rest on the host), `?` if unknown.

    Where weights of all layers lie on the host, or a model known by its name alone has no layers to count: `57% on it`.
    """
    layers = architecture.num_layers
    if placement.available_bytes is None:
        return "?"
    if placement.whole:
        return "yes"
    if placement.host is not None and placement.fits and placement.gpu_layers == layers and not placement.host_experts:
        held = sum(share.weights_bytes for share in placement.shares)
        return f"{held / (held + placement.host.weights_bytes):.0%} on it"
    if placement.host is not None and placement.fits:
        if placement.host_experts:
            return f"{placement.gpu_layers}/{architecture.expert_layers or layers} experts"
        return f"{placement.gpu_layers}/{layers} layers"
    return f"-{format_gib(placement.shortfall_bytes)}"


def tokens_text(tokens: int | None) -> str:
    """`8192`, `128k`; `any` where no length is too long, `-` where unknown."""
    if tokens is None:
        return "-"
    return "any" if tokens >= LONGEST_CONTEXT_TOKENS else format_tokens(tokens)


def rate_text(rate: float, low: float | None, high: float | None) -> str:
    """`95 (80-112)`, or `<= 120` where there is no interval: the roofline's upper bound."""
    if low is None or high is None:
        return f"<= {format_rate(rate)}"
    return f"{format_rate(rate)} ({format_rate(low)}-{format_rate(high)})"


def headers(estimate: Estimate) -> tuple[str, ...]:
    """The columns of a model's table: texts and their time where nothing is generated, all sequences beside each."""
    if not estimate.architecture.decodes:
        return (*HEADERS[:-2], "texts/s", "time")
    return HEADERS if estimate.workload.batch_size == 1 else (*HEADERS[:-2], "tok/s each", "all", "TTFT")


def row(estimate: Estimate) -> list[str]:
    """One estimate as the cells of `headers`."""
    speed = estimate.speed
    decode = together = ttft = "-"
    pace = estimate.pace
    if speed is not None and pace is not None:
        decode = rate_text(pace.rate, pace.low, pace.high)
        together = format_rate(speed.request.throughput_tokens_per_s)
        ttft = format_seconds(speed.prefill.ttft_s)
    return [
        estimate.precision,
        estimate.engine,
        gib(estimate.footprint.weights.size_bytes),
        gib(estimate.footprint.total_bytes),
        fits_text(estimate.placement, estimate.architecture),
        tokens_text(estimate.max_context_tokens),
        decode,
        *([together] if "all" in headers(estimate) else []),
        ttft,
    ]


def model_line(estimate: Estimate) -> str:
    """`meta-llama/... (LlamaForCausalLM): 8,030,261,248 parameters, 32 layers, ... [catalogue]`."""
    model = estimate.architecture
    params = f"{model.total_params:,} parameters" if model.layers else f"about {format_count(model.total_params)}"
    pieces = [params]
    if model.active_params != model.total_params:
        pieces.append(f"{format_count(model.active_params)} active")
    if model.layers:
        pieces.append(f"{model.num_layers} layers")
    if model.max_context_tokens:
        pieces.append(f"context {model.max_context_tokens:,}")
    return f"{model.model_id} ({model.architecture}): {', '.join(pieces)}. Basis: {model.basis.value}."


def device_line(estimate: Estimate) -> str:
    """`2 x NVIDIA ...: 24.00 GiB (23.53 usable), 1,008 GB/s each`."""
    target = estimate.target
    device = target.device
    count = f"{target.count} x " if target.count > 1 else ""
    facts = [_memory_text(target, device.memory_bytes)] if device.memory_bytes else []
    if device.bandwidth_bytes_per_s:
        facts.append(format_bandwidth(device.bandwidth_bytes_per_s))
    others = "".join(f" + {other.name}" for other in target.others)
    named = f"{count}{device.name}"
    each = " each" if target.count > 1 else ""
    return f"{named[0].upper()}{named[1:]}{': ' if facts else ''}{', '.join(facts)}{each}{others}."


def _memory_text(target: Target, memory_bytes: int) -> str:
    """`16.00 GiB (14.66 usable)`: the label, and what of it a program finds where that is told to be less."""
    usable_bytes = free_memory_bytes(target, target.device)
    usable = (
        "" if usable_bytes is None or usable_bytes >= TOLD_BELOW * memory_bytes else f" ({gib(usable_bytes)} usable)"
    )
    return f"{format_gib(memory_bytes)}{usable}"


def workload_line(estimate: Estimate, *others: Estimate) -> str:
    """`Prompt 512, output 128, context 640, batch 1, fp16 cache: 0.08 GiB. Memory in GiB.`.

    Of several whose contexts differ no one cache is told: each row has the longest that it holds.
    """
    workload = estimate.workload
    if estimate.architecture.decodes and any(one.workload.context_tokens != workload.context_tokens for one in others):
        return (
            f"Prompt {workload.prompt_tokens:,}, output {workload.output_tokens:,}, each row's own longest context, "
            f"batch {workload.batch_size}, {workload.kv_precision} cache. Memory in GiB (2^30)."
        )
    cache = estimate.footprint.kv_cache.size_bytes
    cache_text = format_gib(cache) if estimate.footprint.kv_known else "unknown size"
    if not estimate.architecture.decodes:
        kept = f"{workload.kv_precision} cache ({cache_text})" if cache else "no cache"
        return (
            f"Texts of {workload.prompt_tokens:,} tokens, context {workload.context_tokens:,}, batch "
            f"{workload.batch_size}, {kept}. Memory in GiB (2^30)."
        )
    return (
        f"Prompt {workload.prompt_tokens:,}, output {workload.output_tokens:,}, context {workload.context_tokens:,}, "
        f"batch {workload.batch_size}, {workload.kv_precision} cache ({cache_text}). Memory in GiB (2^30)."
    )


def render(estimates: Sequence[Estimate], lay: Lay = text_table) -> str:
    """The estimates of one model on one device for people, their table laid out by `lay`."""
    first = estimates[0]
    table = lay(headers(first), [row(item) for item in estimates])
    lines = [model_line(first), device_line(first), workload_line(*estimates), "", table, *_together_line(estimates)]
    lines += _host_line(estimates)
    gains = [_gain(item) for item in estimates if item.speculation is not None]
    if gains:
        lines += ["", *gains]
    lines += _beside(estimates)
    lines += notes_lines(list(dict.fromkeys(note for item in estimates for note in item.assumptions)))
    return "\n".join(lines)


def _together_line(estimates: Sequence[Estimate]) -> list[str]:
    """What `each` and `all` count, where speeds of several sequences side by side are told."""
    if "all" not in headers(estimates[0]) or not any(item.speed for item in estimates):
        return []
    count = f"{estimates[0].workload.batch_size:,}"
    return ["", f"Each: decoding of one of the {count} sequences. All: the {count} together, prompts included."]


def _host_line(estimates: Sequence[Estimate]) -> list[str]:
    """How much of the totals lies in the host's memory where the devices hold all layers."""
    apart = [item for item in estimates if item.placement.whole and not shares_memory(item.target.device)]
    sizes = [item.footprint.total_bytes - item.placement.device_bytes for item in apart]
    least, most = min(filter(None, sizes), default=0), max(sizes, default=0)
    if not most:
        return []
    amount = format_gib(most) if gib(least) == gib(most) else f"{gib(least)} to {format_gib(most)}"
    return ["", f"Of the total {amount} lie in the host's memory, the rest on the device."]


def notes_lines(notes: Sequence[str]) -> list[str]:
    """The notes below an answer: the first of them, those that decide come first, and how to see the rest."""
    if not notes:
        return []
    shown = [f"- {one_line(note)}" for note in notes[:MOST_NOTES]]
    more = len(notes) - MOST_NOTES
    return ["", *shown, *([f"- {more} more: --explain shows them."] if more > 0 else [])]


def _beside(estimates: Sequence[Estimate]) -> list[str]:
    """What stands below the table: speeds with an empty and a full cache, and the nearest measured rows."""
    depths = [text for item in estimates if (text := _depth_text(item))]
    return [*([""] if depths else []), *depths, *measured_lines(estimates)]


def measured_lines(estimates: Sequence[Estimate]) -> list[str]:
    """The nearest measured row of each estimate that has one at its precision, behind an empty line."""
    measured = [text for item in estimates if (text := _measured_text(item))]
    return [*([""] if measured else []), *measured]


def _depth_text(estimate: Estimate) -> str:
    """`q4_k_m: 145 -> 98 tok/s at 32k` where a full cache of some length slows decoding."""
    depth = estimate.speed.decode.depth if estimate.speed else None
    if depth is None or depth.full_context_tokens < LEAST_DEPTH:
        return ""
    empty, full = format_rate(depth.empty_tokens_per_s), format_rate(depth.full_tokens_per_s)
    return f"{estimate.precision}: {empty} -> {full} tok/s at {format_tokens(depth.full_context_tokens)}"


def _measured_text(estimate: Estimate) -> str:
    """`q4_k_m measured: 132 tok/s (llama.cpp b4567, 2026-03, github.com/...)`, the nearest row's."""
    rows = measured_rows(estimate, "decode", 1) if estimate.speed else ()
    if not rows or "precision" not in rows[0].same:
        return ""
    return f"{MEASURED} {estimate.precision}: {measured_text(rows[0])}"


def measured_text(row: MeasuredRow) -> str:
    """A measured row in a few words: its speed, engine, version, date and source, and where it differs."""
    others = {"precision": row.precision, "device": row.device, "engine": row.engine}
    apart = [others[name] for name in ("precision", "device") if name not in row.same]
    source = row.source.removeprefix("https://").split("/blob/")[0][:60]
    how = ", ".join(
        text for text in (f"{row.engine} {row.engine_version}".strip(), *apart, row.date[:7], source) if text
    )
    tokens = row.context_tokens or 0
    depth = f" at {format_tokens(tokens)}" if tokens >= LEAST_DEPTH else ""
    return f"{format_rate(row.tokens_per_s)} tok/s{depth} measured ({how})"


def _gain(estimate: Estimate) -> str:
    """`q4_k_m with the draft: 1.62 times, 150 tok/s; ...`, and what a step yields and costs."""
    gain = estimate.speculation
    assert gain is not None
    return (
        f"{estimate.precision} with the draft: {gain.speedup:.2f} times, {format_rate(gain.tokens_per_s)} tok/s; "
        f"{gain.tokens_per_step:.2g} tokens a step, verifying costs {gain.verify_cost:.2g} steps, "
        f"drafting {gain.draft_cost:.2g} each, the round itself {gain.round_cost:.2g}."
    )


def flat_rows(estimates: Sequence[Estimate]) -> list[dict[str, object]]:
    """One row an estimate, raw numbers with the unit in the column's name."""
    from sizer.answer.public import model_estimate
    from sizer.plain_json import to_json

    return [{"model": item.architecture.model_id, **_flat(to_json(model_estimate(item)))} for item in estimates]


def _flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested objects as `memory.weights_bytes`; the parts tree is left to JSON."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if key == "parts":
            continue
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
