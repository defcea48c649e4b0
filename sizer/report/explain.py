"""The arithmetic of one estimate, written out number by number."""

from __future__ import annotations

from collections import Counter
from math import exp

from sizer.answer.records import Estimate
from sizer.memory.records import Part
from sizer.model.architecture import Mixer
from sizer.report.table import device_line, fits_text, model_line, rate_text
from sizer.speed.records import Correction, Speed, StageTime
from sizer.units import format_bandwidth, format_gib, format_rate, format_seconds


def render_explanation(estimate: Estimate) -> str:
    """All that a figure was made of: weights by role and format, cache by layer kind, memory, and time by stage."""
    sections = [
        [model_line(estimate), device_line(estimate), f"{estimate.precision} with {estimate.engine}"],
        _weights(estimate),
        _cache(estimate),
        _memory(estimate),
        _speed(estimate),
        ["Assumptions", *(f"  - {note}" for note in estimate.assumptions)] if estimate.assumptions else [],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _weights(estimate: Estimate) -> list[str]:
    formats: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for entry in estimate.stored.tensors:
        if entry.tensor.checkpoint_only:
            continue
        tower = entry.tensor.tower.value
        role = entry.tensor.role.value if tower == "text" else tower
        formats[role, entry.format] += entry.tensor.total_elements
        sizes[role, entry.format] += entry.size_bytes
    lines = [f"Weights: {format_gib(estimate.footprint.weights.size_bytes)}"]
    for (role, kind), size_bytes in sizes.most_common():
        count = formats[role, kind]
        bits = 8 * size_bytes / count if count else 0
        lines.append(f"  {role:<16} {kind:<14} {count:>16,} x {bits:6.3f} bits = {size_bytes:>16,} B")
    bits = 8 * sum(sizes.values()) / max(1, sum(formats.values()))
    lines.append(f"  {bits:.3f} bits per weight over all; {_download(estimate)}")
    return lines


def _download(estimate: Estimate) -> str:
    download_bytes = estimate.stored.download_bytes
    return "the file's size is not known" if download_bytes is None else f"download {format_gib(download_bytes)}"


def _cache(estimate: Estimate) -> list[str]:
    workload = estimate.workload
    if not estimate.footprint.kv_known:
        return ["Cache: not known, the name alone tells no layers"]
    cache = estimate.footprint.kv_cache
    lines = [
        f"Cache: {format_gib(cache.size_bytes)} for {workload.batch_size} x {workload.context_tokens:,} tokens "
        f"in {workload.kv_precision}"
    ]
    mixers = Counter(mixer for layer in estimate.architecture.layers for mixer in layer.mixers)
    lines += [f"  {count:>3} layers {_mixer(mixer, workload.context_tokens)}" for mixer, count in mixers.items()]
    return lines


def _mixer(mixer: Mixer, context_tokens: int) -> str:
    kept = f"{mixer.cached_tokens(context_tokens):,} tokens"
    text = mixer.kind.value
    if mixer.shares_kv:
        text += ": reads another layer's cache"
    elif mixer.latent_elements:
        text += f": {kept} x {mixer.latent_elements} latent values"
    elif mixer.kv_heads:
        text += f": {kept} x {mixer.kv_heads} heads x ({mixer.qk_head_dim} + {mixer.v_head_dim}) values"
    if mixer.state_elements:
        text += f": {mixer.state_elements:,} values of state"
    return text


def _part_lines(part: Part, depth: int = 1) -> list[str]:
    lines = [f"{'  ' * depth}{part.name:<{24 - 2 * depth}} {part.size_bytes:>18,} B  {format_gib(part.size_bytes)}"]
    for child in sorted(part.parts, key=lambda item: -item.size_bytes):
        lines += _part_lines(child, depth + 1)
    return lines


def _memory(estimate: Estimate) -> list[str]:
    placement = estimate.placement
    lines = ["Memory"]
    for part in estimate.footprint.parts:
        lines += _part_lines(part)
    lines.append(f"  total                  {estimate.footprint.total_bytes:>18,} B")
    if placement.available_bytes is not None:
        fits = fits_text(placement, estimate.architecture)
        lines.append(f"  available              {placement.available_bytes:>18,} B  fits: {fits}")
    for share in (*placement.shares, *((placement.host,) if placement.host else ())):
        lines.append(f"  on {share.place}: {share.layers} layers, {format_gib(share.total_bytes)}")
    if placement.reserved_bytes is not None:
        lines.append(f"  reserved ahead: {format_gib(placement.reserved_bytes)}, {_held(estimate)}")
    return lines


def _held(estimate: Estimate) -> str:
    """What is reserved ahead holds: tokens, or sequences where the cache of one stops growing."""
    placement = estimate.placement
    if placement.kv_capacity_tokens is not None:
        return f"cache for {placement.kv_capacity_tokens:,} tokens"
    if placement.max_sequences is None:
        return "no cache"
    return f"cache for {placement.max_sequences:,} sequences of {estimate.workload.context_tokens:,} tokens"


def _speed(estimate: Estimate) -> list[str]:
    """How the speed comes about: the rate, what the memory alone would take, the stages, rows near the case."""
    speed = estimate.speed
    if speed is None:
        return ["Speed: not known (see the assumptions)"]
    if not estimate.architecture.decodes:
        return _reading_lines(estimate, speed)
    bandwidth = estimate.target.device.bandwidth_bytes_per_s
    decode = speed.decode
    lines = [
        f"Decode: {rate_text(decode.tokens_per_s, decode.low_tokens_per_s, decode.high_tokens_per_s)} tokens/s a "
        f"sequence, {format_seconds(decode.tpot_s)} a token, bound by {decode.bound}"
    ]
    if bandwidth:
        floor_s = decode.bytes_per_token / bandwidth
        lines.append(
            f"  {decode.bytes_per_token:,} B at {format_bandwidth(bandwidth)} would take {format_seconds(floor_s)}"
        )
    lines += _stage_lines(speed.decode_stages)
    lines += _nearby_lines(decode.nearby)
    lines += _prefill_lines(speed)
    return lines


def _prefill_lines(speed: Speed) -> list[str]:
    request = speed.request
    return [
        f"Prefill: {_reading_rate(speed)}, first token after {format_seconds(speed.prefill.ttft_s)}, "
        f"bound by {speed.prefill.bound}",
        *_reading_stages(speed),
        f"Request: {format_seconds(request.latency_s)}, {format_rate(request.tokens_per_s)} tokens/s with the prompt, "
        f"{format_rate(request.throughput_tokens_per_s)} tokens/s of all sequences",
    ]


def _reading_lines(estimate: Estimate, speed: Speed) -> list[str]:
    """The speed of a model that writes nothing: texts, and the stages of reading them."""
    pace = estimate.pace
    texts = f"{rate_text(pace.rate, pace.low, pace.high)} texts/s, " if pace else ""
    took = format_seconds(speed.prefill.ttft_s)
    return [
        f"Reading: {texts}{_reading_rate(speed)}, {took} for a batch, bound by {speed.prefill.bound}",
        *_reading_stages(speed),
    ]


def _reading_rate(speed: Speed) -> str:
    prefill = speed.prefill
    return f"{rate_text(prefill.tokens_per_s, prefill.low_tokens_per_s, prefill.high_tokens_per_s)} tokens/s"


def _reading_stages(speed: Speed) -> list[str]:
    return [*_stage_lines(speed.prefill_stages), *_nearby_lines(speed.prefill.nearby)]


def _nearby_lines(said: Correction) -> list[str]:
    """What measured rows of the engine on the device say beyond the law; the stages above are scaled by it."""
    if not said.rows:
        return []
    change = exp(said.log_factor) - 1
    way = "faster" if change >= 0 else "slower"
    return [f"  rows like this one run {abs(change):.1%} {way} than the law: n = {said.rows}"]


def _stage_lines(stages: tuple[StageTime, ...]) -> list[str]:
    return [
        f"  {stage.stage:<16} {stage.bytes_read:>16,} B {stage.flops:>18,} FLOP {format_seconds(stage.time_s):>10} "
        f"{stage.bound}"
        for stage in stages
    ]
