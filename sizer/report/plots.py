"""Plots by matplotlib: PNG, SVG or PDF by the ending of the file. `advise.series` computes, this room draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sizer.answer.records import Estimate
from sizer.errors import UsageError
from sizer.report import series

ENDINGS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 100
DASHES: tuple[Any, ...] = ("-", (0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))
LEAST_LOSS = 1e-4
"""Where a logarithmic axis shows a precision that loses nothing."""


def save(items: Sequence[Estimate], path: Path, kinds: Sequence[str] = ()) -> None:
    """Draw the kinds of plot asked for (all, where none is named) into one file, under one legend.

    Raises UsageError for an unknown ending, for a draft's gain without a draft, and where matplotlib is not installed.
    """
    check_ending(path)
    figure_class = _figure_class()
    drafted = any(item.speculation for item in items)
    if "draft" in kinds and not drafted:
        raise UsageError("--plot-kind draft has no draft to draw.", "Name one with --draft.")
    wanted = list(kinds) or [kind for kind in KINDS if drafted or kind != "draft"]
    columns = 1 if len(wanted) == 1 else 2
    rows = -(-len(wanted) // columns)
    names = series.labels(items)
    legend_columns = 2 if len(names) > 3 else columns
    legend_rows = -(-len(names) // legend_columns)
    height = 4.6 * rows + 0.22 * legend_rows
    figure = figure_class(figsize=(7.5 * columns, height), layout="constrained")
    for number, kind in enumerate(wanted, start=1):
        axes = figure.add_subplot(rows, columns, number)
        KINDS[kind](axes, items)
        axes.grid(alpha=0.3)
    figure.suptitle(", ".join(dict.fromkeys(item.architecture.model_id for item in items)))
    handles = [_handle(index, style) for index, style in enumerate(_styles(items))]
    figure.legend(
        handles, names, loc="outside lower center", ncols=legend_columns, fontsize=8, frameon=False, handlelength=3.5
    )
    figure.savefig(path, dpi=DOTS_PER_INCH)


def check_ending(path: Path) -> None:
    """Raises UsageError for an ending that matplotlib is not asked to draw."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{str(path)!r} has no ending that can be drawn.", f"Use one of {', '.join(ENDINGS)}.")


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib.", "Install it with: pip install 'sizer-llm[plot]'") from None
    return Figure


def _color(index: int) -> str:
    """One colour an estimate, the same in every plot."""
    return f"C{index % 10}"


def _styles(items: Sequence[Estimate]) -> list[Any]:
    """One dash pattern a device: lines that lie on each other show both colours."""
    devices = list(dict.fromkeys(series.device_of(item) for item in items))
    return [DASHES[devices.index(series.device_of(item)) % len(DASHES)] for item in items]


def _handle(index: int, style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=_color(index), linestyle=style, marker="o", markersize=4, linewidth=1.6)


def _plain(value: float, _position: int = 0) -> str:
    """Plain numbers: 0.5, 512, 8k, 131k."""
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:g}"


def _log(axis: Any, base: float = 10) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each power (at each power of another base)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    setter = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    setter("log", base=base)
    axis.set_major_locator(LogLocator(base=base, subs=(1.0, 2.0, 5.0) if base == 10 else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _lines(axes: Any, items: Sequence[Estimate], lines: Sequence[series.Series]) -> None:
    for index, (line, style) in enumerate(zip(lines, _styles(items), strict=True)):
        if line.x:
            axes.plot(line.x, line.y, marker="o", markersize=3.5, linewidth=1.5, color=_color(index), linestyle=style)


def _memory(axes: Any, items: Sequence[Estimate]) -> None:
    lines = series.memory_by_context(items)
    _lines(axes, items, lines)
    axes.set(title="Memory by context", xlabel="context (tokens)", ylabel="GiB")
    _log(axes.xaxis, 2)
    highest = max(max(line.y) for line in lines)
    capacities = {series.device_of(item): item.placement.available_bytes for item in items}
    known = {key: size_bytes / 2**30 for key, size_bytes in capacities.items() if size_bytes is not None}
    shown = [gib for gib in known.values() if gib <= 1.5 * highest]
    top = 1.12 * max([highest, *shown])
    for key, gib in known.items():
        if gib <= top:
            axes.axhline(gib, linestyle="--", linewidth=1, color="0.4")
        where = "fits below" if gib <= top else "all of it fits"
        axes.annotate(
            f"{key}: {gib:.0f} GiB, {where}", (0.01, min(gib, 0.96 * top)), xycoords=("axes fraction", "data"),
            xytext=(0, 2), textcoords="offset points", fontsize=8, color="0.3",
        )  # fmt: skip
    axes.set_ylim(0, top)


def _speed(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, items, series.speed_by_context(items))
    axes.set(title="Decode speed by context", xlabel="context (tokens)", ylabel="tokens/s")
    _log(axes.xaxis, 2)
    axes.set_ylim(0, None)


def _batch(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, items, series.throughput_by_latency(items))
    axes.set(
        title="Throughput against each sequence's speed (batch 1, lower right, to 256)",
        xlabel="tokens/s of one sequence",
        ylabel="tokens/s of all",
    )
    _log(axes.yaxis)
    axes.set_xlim(0, None)


def _roofline(axes: Any, items: Sequence[Estimate]) -> None:
    for index, line in enumerate(series.roofline_points(items)):
        axes.plot(line.x, line.y, linestyle=":", linewidth=1, color=_color(index))
        for marker, x, y in zip("os", line.x, line.y, strict=False):
            axes.plot([x], [y], marker=marker, markersize=6, color=_color(index))
    for device in {item.target.device.key: item.target.device for item in items}.values():
        peak = device.peak_flops_per_s.get("bf16") or device.peak_flops_per_s.get("fp16")
        if peak and device.bandwidth_bytes_per_s:
            knee = peak / device.bandwidth_bytes_per_s
            roof = [0.5 * device.bandwidth_bytes_per_s / 1e12, peak / 1e12, peak / 1e12]
            axes.plot([0.5, knee, knee * 30], roof, color="0.3", linewidth=1.2)
            axes.annotate(
                f"{device.key}, 16 bit: {peak / 1e12:.0f} TFLOP/s", (knee, peak / 1e12), fontsize=8, ha="left",
                va="bottom", color="0.3",
            )  # fmt: skip
    axes.set(title="Roofline: decode (round), prefill (square)", xlabel="FLOP per byte read", ylabel="TFLOP/s")
    _log(axes.xaxis)
    _log(axes.yaxis)


def _frontier(axes: Any, items: Sequence[Estimate]) -> None:
    points = series.frontier_points(items)
    spots: dict[tuple[float, str, float], list[str]] = {}
    for index, (_, gib, loss, rate) in enumerate(points):
        height = max(loss, LEAST_LOSS)
        axes.scatter(gib, height, s=14 if rate is None else 14 + 1.5 * rate, alpha=0.5, color=_color(index))
        speed = "does not fit" if rate is None else f"{rate:.3g} tok/s"
        spots.setdefault((round(gib, 1), items[index].precision, height), []).append(speed)
    for number, ((gib, precision, height), speeds) in enumerate(sorted(spots.items())):
        # Neighbours' labels lie on opposite sides, or they would cover each other.
        side, offset = ("left", 10) if number % 2 else ("right", -10)
        text = f"{precision}: {', '.join(speeds)}"
        axes.annotate(
            text, (gib, height), fontsize=8, ha=side, va="center", xytext=(offset, 0), textcoords="offset points"
        )
    axes.set(title="Quality, memory, speed (area)", xlabel="GiB", ylabel="KL divergence (lower is better)")
    _log(axes.yaxis)
    axes.margins(x=0.3, y=0.2)


def _draft(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, items, series.gain_by_acceptance(items))
    axes.axhline(1, linestyle="--", linewidth=1, color="0.4")
    axes.set(title="Gain of the draft by acceptance", xlabel="accepted share of drafted tokens", ylabel="times as fast")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)


KINDS: dict[str, Callable[[Any, Sequence[Estimate]], None]] = {
    "memory": _memory,
    "speed": _speed,
    "batch": _batch,
    "roofline": _roofline,
    "frontier": _frontier,
    "draft": _draft,
}
