"""The plot of a capacity: throughput against time per token with the limit drawn, and time to first token by users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sizer.report.plots import check_ending, figure_class, logarithmic
from sizer.serving.records import Capacity, ServedRow

MOST_MACHINES, MOST_WITH_TAILS = 8, 2
"""Machines that a panel tells apart, and those of which it draws the 90th and 99th percentile too."""
NEAR = 0.03
"""Points nearer to each other than this part of the panel share a number."""


def save(found: Sequence[Capacity], path: Path) -> None:
    """Draw the capacities into one file, the first eight machines. Raises UsageError for an unknown ending or without
    matplotlib."""
    check_ending(path)
    found = found[:MOST_MACHINES]
    figure = figure_class()(figsize=(12.5, 5.4), layout="constrained")
    knee, first = figure.subplots(1, 2)
    for index, one in enumerate(found):
        rows = [row for row in one.serving if row.machines == 1]
        rows = sorted({row.users: row for row in rows}.values(), key=lambda row: row.users)
        _knee(knee, one, rows, f"C{index}")
        _first_token(first, one, rows, f"C{index}", first_of_all=index == 0, tails=len(found) <= MOST_WITH_TAILS)
    knee.set(xlabel=f"time per output token, {found[0].percentile} (ms)", ylabel="generated tokens/s of the machine",
             title="Throughput against time per token: numbers are users")  # fmt: skip
    first.set(xlabel="users at once", ylabel="time to first token (s)", title="Time to first token by users")
    logarithmic(first.xaxis, 2)
    logarithmic(first.yaxis)
    knee.set_xlim(0, 1.04 * knee.get_xlim()[1])  # room for the number of the last point
    knee.set_ylim(0, None)
    _limits(knee, first, found[0])
    for axes in (knee, first):
        axes.grid(alpha=0.3)
    knee.legend(fontsize=8, loc="best")
    first.legend(fontsize=8, loc="upper left")
    one = found[0]
    work = f"prompt {one.prompt_tokens:,}, output {one.output_tokens:,}"
    figure.suptitle(f"{one.model}, {one.precision}, {one.engine}: {work}")
    figure.savefig(path, dpi=100)


def _name(one: Capacity) -> str:
    return f"{one.devices} x {one.device}, {one.replicas} x {one.parallelism}"


def _knee(axes: Any, one: Capacity, rows: Sequence[ServedRow], color: str) -> None:
    x = [1000 * getattr(row.tpot_s, one.percentile) for row in rows]
    y = [row.throughput_tokens_per_s for row in rows]
    axes.plot(x, y, color=color, linewidth=1.4, label=_name(one))
    for meets, marker in ((True, "o"), (False, "x")):
        chosen = [index for index, row in enumerate(rows) if row.meets is meets]
        axes.plot([x[index] for index in chosen], [y[index] for index in chosen], marker, color=color, markersize=6)
    for index in _apart(x, y, [row.users == one.max_users for row in rows]):
        row = rows[index]
        # neighbours lie close at the lower end: their numbers stand above and below the line in turn
        above = index % 2 == 0
        axes.annotate(
            f"{row.users:,}", (x[index], y[index]), fontsize=8, ha="right" if above else "left",
            va="bottom" if above else "top", xytext=(-3, 3) if above else (4, -3), textcoords="offset points",
            fontweight="bold" if row.users == one.max_users else "normal",
        )  # fmt: skip


def _apart(x: Sequence[float], y: Sequence[float], wanted: Sequence[bool]) -> list[int]:
    """The points that get a number: each that lies apart from the ones numbered before, and the wanted ones."""
    kept = [index for index, is_wanted in enumerate(wanted) if is_wanted]
    width, height = max(x, default=1.0) or 1.0, max(y, default=1.0) or 1.0
    for index in range(len(x)):
        far = all(abs(x[index] - x[k]) > NEAR * width or abs(y[index] - y[k]) > NEAR * height for k in kept)
        kept += [index] if far else []
    return sorted(kept)


def _first_token(
    axes: Any, one: Capacity, rows: Sequence[ServedRow], color: str, *, first_of_all: bool, tails: bool
) -> None:
    """The first token over the users, with its interval and, where asked for, its tails."""
    users = [row.users for row in rows]
    axes.fill_between(
        users,
        [row.low_ttft_s for row in rows],
        [row.high_ttft_s for row in rows],
        color=color,
        alpha=0.12,
        linewidth=0,
        label="90 % interval of the median" if first_of_all else None,
    )
    half = [row.ttft_s.p50 for row in rows]
    axes.plot(users, half, marker="o", markersize=4, color=color, label=f"{_name(one)}: p50")
    for name, dash in (("p90", "--"), ("p99", ":")) if tails else ():
        tail = [getattr(row.ttft_s, name) for row in rows]
        axes.plot(users, tail, linestyle=dash, color=color, label=name if first_of_all else None)
    if one.max_users:
        axes.axvline(one.max_users, color=color, linewidth=0.8, linestyle="-.")
        axes.annotate(
            f"{one.max_users:,} users, then: {one.binding}", (one.max_users, 0.98), xycoords=("data", "axes fraction"),
            fontsize=8, color=color, rotation=90, ha="right", va="top",
        )  # fmt: skip


def _limits(knee: Any, first: Any, one: Capacity) -> None:
    if one.tpot_limit_s is not None:
        knee.axvline(1000 * one.tpot_limit_s, color="0.3", linewidth=1, label=f"limit ({one.percentile})")
        knee.set_xlim(0, max(knee.get_xlim()[1], 1100 * one.tpot_limit_s))
        knee.axvspan(1000 * one.tpot_limit_s, knee.get_xlim()[1], color="C3", alpha=0.06)
    if one.ttft_limit_s is not None:
        first.axhline(one.ttft_limit_s, color="0.3", linewidth=1, label=f"limit ({one.percentile})")
        first.set_ylim(first.get_ylim()[0], max(first.get_ylim()[1], 2 * one.ttft_limit_s))
        first.axhspan(one.ttft_limit_s, first.get_ylim()[1], color="C3", alpha=0.06)
