"""Plots by matplotlib: PNG, SVG or PDF by the ending of the file. `advise.series` computes, this room draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sizer.advise import series
from sizer.errors import UsageError
from sizer.estimate.records import Estimate

ENDINGS = (".png", ".svg", ".pdf")


def save(items: Sequence[Estimate], path: Path, kinds: Sequence[str] = ()) -> None:
    """Draw the kinds of plot asked for (all, where none is named) into one file.

    Raises UsageError for an unknown ending, and where matplotlib is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{str(path)!r} has no ending that can be drawn.", f"Use one of {', '.join(ENDINGS)}.")
    figure_class = _figure_class()
    wanted = list(kinds) or list(KINDS)
    columns = 1 if len(wanted) == 1 else 2
    rows = -(-len(wanted) // columns)
    figure = figure_class(figsize=(7.5 * columns, 4.6 * rows), layout="constrained")
    for number, kind in enumerate(wanted, start=1):
        KINDS[kind](figure.add_subplot(rows, columns, number), items)
    figure.suptitle(items[0].architecture.model_id)
    figure.savefig(path, dpi=130)


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib.", "Install it with: pip install 'sizer[plot]'") from None
    return Figure


def _lines(axes: Any, lines: Sequence[series.Series]) -> None:
    for line in lines:
        if line.x:
            axes.plot(line.x, line.y, marker="o", markersize=3.5, linewidth=1.4, label=line.label)
    axes.grid(alpha=0.3)
    if any(line.x for line in lines):
        axes.legend(fontsize=7)


def _memory(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, series.memory_by_context(items))
    capacities = {(item.target.device.key, item.placement.available_bytes) for item in items}
    for key, available_bytes in sorted(capacities, key=str):
        if available_bytes is not None:
            axes.axhline(available_bytes / 2**30, linestyle="--", linewidth=1, color="0.4")
            axes.annotate(
                key, (1.0, available_bytes / 2**30), xycoords=("axes fraction", "data"), ha="right", fontsize=7
            )
    axes.set(title="Memory by context", xlabel="context (tokens)", ylabel="GiB", xscale="log", ylim=(0, None))
    axes.set_xscale("log", base=2)


def _speed(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, series.speed_by_context(items))
    axes.set(title="Decode speed by context", xlabel="context (tokens)", ylabel="tokens/s", ylim=(0, None))
    axes.set_xscale("log", base=2)


def _batch(axes: Any, items: Sequence[Estimate]) -> None:
    _lines(axes, series.throughput_by_latency(items))
    axes.set(
        title="Throughput against each user's speed (batch 1 to 256)",
        xlabel="tokens/s of one sequence",
        ylabel="tokens/s of all",
        yscale="log",
    )


def _roofline(axes: Any, items: Sequence[Estimate]) -> None:
    for line in series.roofline_points(items):
        axes.plot(line.x, line.y, marker="o", markersize=4, linestyle=":", linewidth=1, label=line.label)
    for device in {item.target.device.key: item.target.device for item in items}.values():
        peak = device.peak_flops_per_s.get("bf16") or device.peak_flops_per_s.get("fp16")
        if peak and device.bandwidth_bytes_per_s:
            knee = peak / device.bandwidth_bytes_per_s
            x = [0.1, knee, knee * 30]
            axes.plot(x, [0.1 * device.bandwidth_bytes_per_s, peak, peak], color="0.3", linewidth=1.2)
            axes.annotate(f"{device.key}, 16 bit", (knee, peak), fontsize=7, ha="right", va="bottom")
    axes.set(title="Roofline: decode (left) and prefill (right)", xlabel="FLOP per byte read", ylabel="FLOP/s")
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=7)


def _frontier(axes: Any, items: Sequence[Estimate]) -> None:
    for name, gib, loss, rate in series.frontier_points(items):
        axes.scatter(gib, max(loss, 1e-4), s=12 if rate is None else 12 + 1.5 * rate, alpha=0.55)
        speed = "" if rate is None else f" ({rate:.0f} tok/s)"
        axes.annotate(f"{name}{speed}", (gib, max(loss, 1e-4)), fontsize=7, xytext=(4, 4), textcoords="offset points")
    axes.set(title="Quality, memory, speed (area)", xlabel="GiB", ylabel="KL divergence", yscale="log")
    axes.grid(alpha=0.3)


KINDS: dict[str, Callable[[Any, Sequence[Estimate]], None]] = {
    "memory": _memory,
    "speed": _speed,
    "batch": _batch,
    "roofline": _roofline,
    "frontier": _frontier,
}
