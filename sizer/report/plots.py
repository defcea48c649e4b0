"""Plots by matplotlib: PNG, SVG or PDF by the ending of the file. `series` computes, this module draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sizer.answer.records import Estimate
from sizer.errors import UsageError
from sizer.frozen import NamedTuple
from sizer.report import series
from sizer.units import format_rate

ENDINGS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 100
PANEL_INCHES = (6.4, 4.3)
MOST_COLUMNS = 3
DASHES: tuple[Any, ...] = ("-", (0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))
LEAST_LOSS = 1e-4
"""Where a logarithmic axis shows a precision that loses nothing."""
LABEL_GAP = 0.042
"""Part of a panel's height that one label takes."""


def save(items: Sequence[Estimate], path: Path, kinds: Sequence[str] = ()) -> None:
    """Draw the kinds of plot asked for (all, where none is named) into one file.

    A panel has eight lines at most, labelled where they end; more estimates make more rows of panels. A precision has
    one colour and a device one dash in all of them. Raises UsageError for an unknown ending, for a draft's gain without
    a draft, and where matplotlib is not installed.
    """
    check_ending(path)
    new_figure = figure_class()
    drafted = any(item.speculation for item in items)
    if "draft" in kinds and not drafted:
        raise UsageError("--plot-kind draft has no draft to draw.", "Name one with --draft.")
    decoding = any(item.architecture.decodes for item in items)
    drawable = set(KINDS) - (set() if drafted else {"draft"}) - (set() if decoding else OF_DECODING)
    wanted = list(kinds) or [kind for kind in KINDS if kind in drawable]
    groups = series.panels(items)
    columns = len(wanted) if len(groups) > 1 else 2 if len(wanted) in (2, 4) else min(MOST_COLUMNS, len(wanted))
    rows = len(groups) if len(groups) > 1 else -(-len(wanted) // columns)
    figure = new_figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows), layout="constrained")
    look = _look(items)
    for number, (group, kind) in enumerate((group, kind) for group in groups for kind in wanted):
        axes = figure.add_subplot(rows, columns, number + 1)
        KINDS[kind](axes, _Panel(group, [look[item.precision] for item in group], _styles(group, items)))
        axes.grid(alpha=0.3)
        if len(groups) > 1:
            axes.set_title(f"{group[0].architecture.model_id.rpartition('/')[2]}: {axes.get_title()}", fontsize=10)
    spare = rows * columns - len(groups) * len(wanted)
    if spare:
        _key(figure.add_subplot(rows, columns, rows * columns), items, look)
    figure.suptitle(", ".join(dict.fromkeys(item.architecture.model_id for item in items)))
    figure.savefig(path, dpi=DOTS_PER_INCH)


class _Panel(NamedTuple):
    """What a panel draws: estimates with the colour and the dash of each."""

    items: Sequence[Estimate]
    colors: Sequence[str]
    styles: Sequence[Any]


def check_ending(path: Path) -> None:
    """Raises UsageError for an ending that matplotlib is not asked to draw."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{str(path)!r} has no ending that can be drawn.", f"Use one of {', '.join(ENDINGS)}.")


def figure_class() -> Any:
    """matplotlib's figure. Raises UsageError where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib.", "Install it with: pip install 'sizer-llm[plot]'") from None
    return Figure


def _look(items: Sequence[Estimate]) -> dict[str, str]:
    """One colour a precision, the same in every panel."""
    names = dict.fromkeys(item.precision for item in items)
    return {name: f"C{index % 10}" for index, name in enumerate(names)}


def _styles(group: Sequence[Estimate], items: Sequence[Estimate]) -> list[Any]:
    """One dash pattern a device: lines that lie on each other show both colours."""
    devices = list(dict.fromkeys(series.device_of(item) for item in items))
    return [DASHES[devices.index(series.device_of(item)) % len(DASHES)] for item in group]


def _key(axes: Any, items: Sequence[Estimate], look: Mapping[str, str]) -> None:
    """What colours and dashes mean, in a place that no panel needs."""
    from matplotlib.lines import Line2D

    devices = dict.fromkeys(series.device_of(item) for item in items)
    handles = [Line2D([], [], color=color, label=name, linewidth=2) for name, color in look.items()]
    handles += [
        Line2D([], [], color="0.3", linestyle=DASHES[index % len(DASHES)], label=name)
        for index, name in enumerate(devices)
    ]
    axes.axis("off")
    axes.legend(handles=handles, loc="center", frameon=False, handlelength=4, title="colour: precision, dash: device")


def _label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names of lines beside the panel at the height of their ends (x, y, name, colour), moved apart where they meet."""
    to_panel = axes.transData + axes.transAxes.inverted()
    heights = sorted(
        (min(1.0, max(0.0, float(to_panel.transform((x, y))[1]))), name, color) for x, y, name, color in ends
    )
    for height, (_, name, color) in zip(_apart([height for height, _, _ in heights]), heights, strict=True):
        axes.annotate(
            name, (1.01, height), xycoords="axes fraction", fontsize=7.5, va="center", color=color,
            annotation_clip=False,
        )  # fmt: skip


def _apart(heights: Sequence[float]) -> list[float]:
    """Rising heights, each a label's height above the one before, together as near to where they were as that lets.

    >>> _apart([0.5, 0.5])
    [0.479, 0.521]
    """
    blocks: list[list[float]] = []  # sum of wanted first heights, labels
    for height in heights:
        blocks.append([height, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] + blocks[-2][1] * LABEL_GAP > (
            blocks[-1][0] / blocks[-1][1]
        ):
            total, count = blocks.pop()
            blocks[-1][0] += total - count * blocks[-1][1] * LABEL_GAP
            blocks[-1][1] += count
    return [round(total / count + index * LABEL_GAP, 4) for total, count in blocks for index in range(int(count))]


def _plain(value: float, _position: int = 0) -> str:
    """Plain numbers: 0.5, 512, 8000, 131k."""
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:g}"


def _tokens(value: float, _position: int = 0) -> str:
    """Powers of two of tokens, narrow enough to stand side by side: 512, 8k, 128k."""
    return f"{value / 1024:g}k" if value >= 1024 else f"{value:g}"


def logarithmic(axis: Any, base: float = 10, steps: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 of each power; of base 2, tokens at each power."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    setter = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    setter("log", base=base)
    axis.set_major_locator(LogLocator(base=base, subs=steps if base == 10 else (1.0,), numticks=12))
    axis.set_major_formatter(FuncFormatter(_tokens if base == 2 else _plain))
    axis.set_minor_formatter(NullFormatter())


def _lines(axes: Any, panel: _Panel, lines: Sequence[series.Series]) -> None:
    for line, color, style in zip(lines, panel.colors, panel.styles, strict=True):
        axes.plot(line.x, line.y, marker="o", markersize=3.5, linewidth=1.5, color=color, linestyle=style)
    if not any(line.x for line in lines):
        axes.annotate("none of them runs here", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.3")


def _named(panel: _Panel, lines: Sequence[series.Series], end: int) -> list[tuple[float, float, str, str]]:
    """Where each line that is drawn ends, with its name and colour."""
    return [
        (line.x[end], line.y[end], line.label, color) for line, color in zip(lines, panel.colors, strict=True) if line.x
    ]


def _beyond(values: Iterable[float]) -> float | None:
    """The end of an axis from nought that leaves the highest value its mark; None without values."""
    highest = max(values, default=0.0)
    return 1.06 * highest or None


def _memory(axes: Any, panel: _Panel) -> None:
    """Memory over the context, under what each device has; one that holds far more is named, not drawn."""
    lines = series.memory_by_context(panel.items)
    _lines(axes, panel, lines)
    axes.set(title="Memory by context", xlabel="context (tokens)", ylabel="GiB")
    logarithmic(axes.xaxis, 2)
    highest = max(max(line.y) for line in lines)
    capacities = {series.device_of(item): item.placement.available_bytes for item in panel.items}
    known = {key: size_bytes / 2**30 for key, size_bytes in capacities.items() if size_bytes is not None}
    shown = [gib for gib in known.values() if gib <= 1.5 * highest]
    top = 1.12 * max([highest, *shown])
    all_fit = []
    for key, gib in known.items():
        if gib > top:
            all_fit.append(f"{key}: {gib:.0f} GiB, all of it fits")
            continue
        axes.axhline(gib, linestyle="--", linewidth=1, color="0.4")
        axes.annotate(
            f"{key}: {gib:.0f} GiB, fits below", (0.01, gib), xycoords=("axes fraction", "data"), xytext=(0, 2),
            textcoords="offset points", fontsize=8, color="0.3",
        )  # fmt: skip
    if all_fit:
        axes.annotate("\n".join(all_fit), (0.01, 0.99), xycoords="axes fraction", va="top", fontsize=8, color="0.3")
    axes.set_ylim(0, top)
    _label_ends(axes, _named(panel, lines, -1))


def _speed(axes: Any, panel: _Panel) -> None:
    lines = series.speed_by_context(panel.items)
    _lines(axes, panel, lines)
    axes.set(title="Decode speed by context", xlabel="context (tokens)", ylabel="tokens/s")
    logarithmic(axes.xaxis, 2)
    axes.set_ylim(0, _beyond(y for line in lines for y in line.y))
    _label_ends(axes, _named(panel, lines, -1))


def _batch(axes: Any, panel: _Panel) -> None:
    lines = series.throughput_by_latency(panel.items)
    _lines(axes, panel, lines)
    axes.set(
        title="Throughput against each sequence's speed\n(batch 1, lower right, to 256)",
        xlabel="tokens/s of one sequence",
        ylabel="tokens/s of all",
    )
    logarithmic(axes.yaxis)
    axes.set_xlim(0, _beyond(x for line in lines for x in line.x))
    _label_ends(axes, _named(panel, lines, 0))


def _roofline(axes: Any, panel: _Panel) -> None:
    """Decode and prefill under the roofs of their devices."""
    points = series.roofline_points(panel.items)
    for line, color in zip(points, panel.colors, strict=True):
        axes.plot(line.x, line.y, linestyle=":", linewidth=1, color=color)
        for marker, x, y in zip("os", line.x, line.y, strict=False):
            axes.plot([x], [y], marker=marker, markersize=6, color=color)
    for device in {item.target.device.key: item.target.device for item in panel.items}.values():
        peak = device.peak_flops_per_s.get("bf16") or device.peak_flops_per_s.get("fp16")
        if peak and device.bandwidth_bytes_per_s:
            knee = peak / device.bandwidth_bytes_per_s
            roof = [0.5 * device.bandwidth_bytes_per_s / 1e12, peak / 1e12, peak / 1e12]
            axes.plot([0.5, knee, knee * 30], roof, color="0.3", linewidth=1.2)
            axes.annotate(
                f"{device.key}, 16 bit: {peak / 1e12:.0f} TFLOP/s", (knee * 30, peak / 1e12), fontsize=8, ha="right",
                va="bottom", color="0.3",
            )  # fmt: skip
    axes.set(title="Roofline: decode (round), prefill (square)", xlabel="FLOP per byte read", ylabel="TFLOP/s")
    logarithmic(axes.xaxis, steps=(1.0,))
    logarithmic(axes.yaxis)
    _label_ends(axes, _named(panel, points, -1))


def _frontier(axes: Any, panel: _Panel) -> None:
    points = series.frontier_points(panel.items)
    for (_, gib, loss, rate), color in zip(points, panel.colors, strict=True):
        axes.scatter(gib, max(loss, LEAST_LOSS), s=14 if rate is None else 14 + 1.5 * rate, alpha=0.5, color=color)
    axes.set(
        title="Quality, memory, speed (area)",
        xlabel="GiB",
        ylabel=f"KL divergence, lower is better (0 at {LEAST_LOSS:g})",
    )
    logarithmic(axes.yaxis)
    axes.margins(y=0.2)
    axes.set_xlim(0, 1.15 * max(gib for _, gib, _, _ in points))
    unit = "tok/s" if any(item.architecture.decodes for item in panel.items) else "texts/s"
    ends = []
    for (name, gib, loss, rate), color in zip(points, panel.colors, strict=True):
        told = "does not fit" if rate is None else f"{format_rate(rate)} {unit}"
        ends.append((gib, max(loss, LEAST_LOSS), f"{name}: {told}", color))
    _label_ends(axes, ends)


def _draft(axes: Any, panel: _Panel) -> None:
    lines = series.gain_by_acceptance(panel.items)
    _lines(axes, panel, lines)
    axes.axhline(1, linestyle="--", linewidth=1, color="0.4")
    axes.set(title="Gain of the draft by acceptance", xlabel="accepted share of drafted tokens", ylabel="times as fast")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)
    _label_ends(axes, _named(panel, lines, -1))


OF_DECODING = {"speed", "batch"}
"""Kinds that draw nothing where no model writes tokens."""

KINDS: dict[str, Callable[[Any, _Panel], None]] = {
    "memory": _memory,
    "speed": _speed,
    "batch": _batch,
    "roofline": _roofline,
    "frontier": _frontier,
    "draft": _draft,
}
