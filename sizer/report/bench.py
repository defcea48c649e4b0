"""A measurement beside its prediction: text, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sizer.answer.records import Estimate
from sizer.benchmark.public import benchmark
from sizer.benchmark.records import Measurement
from sizer.benchmark.summary import residual
from sizer.report.layout import Lay, text_table
from sizer.report.llama_bench import STYLE, of_measurement, text_of
from sizer.report.outputs import Document, Rows
from sizer.report.table import measured_lines
from sizer.units import format_gib, format_rate, format_seconds

HEADERS = ("", "measured", "predicted", "measured/predicted - 1")


def document(results: Sequence[tuple[Measurement, Estimate | None]], rows: Callable[[], Rows]) -> Document:
    """Benchmarks: JSON is one object, or a list for several; `rows` are those of the measurements format."""

    def record() -> Any:
        records = [benchmark(*result) for result in results]
        return records[0] if len(records) == 1 else records

    tests = (test for result in results for test in of_measurement(*result))
    return Document(
        record,
        rows,
        lambda lay: "\n\n".join(render(*result, lay) for result in results),
        {STYLE: lambda: text_of(tests)},
    )


def render(measured: Measurement, predicted: Estimate | None, lay: Lay = text_table) -> str:
    """One benchmark for people."""
    table = lay(HEADERS, _rows(measured, predicted))
    lines = [_what(measured), _how(measured), "", table]
    used = residual(measured, predicted)["mbu"]
    if used is not None:
        lines += ["", f"Bandwidth used while decoding (MBU): {used:.0%}."]
    lines += measured_lines([predicted]) if predicted else []
    if predicted is None:
        lines += ["", "No prediction: it takes a known model, --precision and --device."]
    lines += [f"warning ({item.code}): {item.message} {item.remedy}" for item in measured.warnings]
    return "\n".join(lines)


def _what(measured: Measurement) -> str:
    weights = ", random weights" if measured.random_weights else ""
    versions = ", ".join(f"{name} {value}" for name, value in measured.versions.items() if value)
    mode = ", compiled" if measured.compiled else ""
    model = f"{measured.model or 'the server'} at {measured.precision or '?'}"
    return f"{model}{weights}: {measured.engine}{mode}{f' ({versions})' if versions else ''}"


def _how(measured: Measurement) -> str:
    place = measured.device_name or measured.device or "server"
    threads = f", {measured.threads} threads" if measured.threads else ""
    count = f"{measured.device_count} x " if measured.device_count > 1 else ""
    users = f", {measured.concurrency} users" if measured.concurrency > 1 else ""
    spread = f"; decode spread {measured.decode_spread:.1%}" if measured.decode_spread is not None else ""
    return (
        f"On {count}{place}{threads}. Prompt {measured.prompt_tokens}, output {measured.output_tokens}, "
        f"batch {measured.batch_size}{users}. Median of {len(measured.runs)} runs after {measured.warmup_runs} "
        f"uncounted{spread}. Tokenizing is not in it; choosing the token is."
    )


def _rows(measured: Measurement, predicted: Estimate | None) -> list[list[str]]:
    """Measured beside predicted, a row a figure."""
    off = residual(measured, predicted)
    speed = predicted.speed if predicted else None
    footprint = predicted.footprint if predicted else None
    ttft = speed.prefill.ttft_s if speed else None
    rows = [
        [
            "decode, tokens/s",
            format_rate(measured.decode_tokens_per_s),
            _interval(speed.decode) if speed else "-",
            _percent(off["decode"]),
        ],
        [
            "prefill, tokens/s",
            format_rate(measured.prefill_tokens_per_s),
            _interval(speed.prefill) if speed else "-",
            _percent(off["prefill"]),
        ],
        [
            "first token (TTFT)",
            format_seconds(measured.ttft_s),
            format_seconds(ttft) if ttft else "-",
            _percent(measured.ttft_s / ttft - 1 if ttft else None),
        ],
    ]
    pairs = (
        ("weights", measured.weights_bytes, footprint.weights.size_bytes if footprint else None),
        ("peak memory", measured.peak_memory_bytes, footprint.total_bytes if footprint else None),
    )
    for name, have, expected in pairs:
        ratio = have / expected - 1 if have and expected else None
        rows.append([name, _gib(have), _gib(expected), _percent(ratio)])
    if measured.load_s is not None:
        rows.append(["loading", format_seconds(measured.load_s), "-", "-"])
    return rows


def _interval(rate: Any) -> str:
    low, high = rate.low_tokens_per_s, rate.high_tokens_per_s
    shown = format_rate(rate.tokens_per_s)
    return (
        f"{shown} ({format_rate(low)}-{format_rate(high)})" if low is not None and high is not None else f"<= {shown}"
    )


def _gib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_gib(size_bytes)


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:+.1%}"
