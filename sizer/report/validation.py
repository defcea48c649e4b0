"""Text and plot of a validation: errors by group, worst rows, predicted against measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sizer.calibrate.validate import Accuracy, Validation
from sizer.report.layout import Lay, cells_of, text_table
from sizer.units import GIB, significant

WORST_ROWS = 12
LARGEST_GROUPS = 12
FEW_POINTS = 100
"""Of fewer, each is drawn large enough to be seen alone."""


def render(result: Validation, lay: Lay = text_table) -> str:
    """Errors by quantity and by group of decode, the worst rows, and why rows were skipped."""
    parts = [f"{result.scored} of {result.rows} rows scored, {len(result.skipped)} skipped."]
    if result.known_by_size:
        parts.append(
            f"{len(result.known_by_size)} of them by their model's size alone: it is not in the catalogue, nor a "
            "directory or file that is here."
        )
    parts.append(_table(lay, "", result.by_quantity))
    timed = "tpot" in result.by_quantity
    for name, groups in result.by.items():
        largest = dict(list(groups.items())[:LARGEST_GROUPS])
        parts.append(_table(lay, f"{'Time per token' if timed else 'Decode'} by {name.replace('_', ' ')}", largest))
    shown = {"tpot", "ttft"} if timed else {"decode"}
    worst = sorted((one for one in result.predictions if one.quantity in shown), key=lambda one: -one.ape)
    rows = [
        {
            "worst row": one.id,
            "measured": significant(one.measured or 0, 4),
            "predicted": significant(one.predicted, 4),
            "error": f"{one.signed_error:+.0%}",
        }
        for one in worst[:WORST_ROWS]
    ]
    if rows:
        parts.append(cells_of(rows, lay))
    reasons = Counter(reason for _, reason in result.skipped).most_common(WORST_ROWS)
    if reasons:
        parts.append(cells_of([{"skipped": str(n), "reason": reason} for reason, n in reasons], lay))
    return "\n\n".join(parts)


def _table(lay: Lay, title: str, groups: Mapping[str, Accuracy]) -> str:
    rows = [
        {
            "": name,
            "n": str(one.n),
            "median error": _percent(one.median_ape),
            "p90 error": _percent(one.p90_ape),
            "bias": _percent(one.bias, sign=True),
            "in interval": _percent(one.coverage),
        }
        for name, one in groups.items()
        if one.n
    ]
    return "\n".join(line for line in (title, cells_of(rows, lay) if rows else "nothing to compare") if line)


def _percent(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.1%}" if sign else f"{value:.1%}"


def save_plot(result: Validation, path: Path) -> None:
    """Predicted against measured, one panel a quantity, on logarithmic axes. UsageError for a format it cannot draw."""
    from sizer.report.plots import check_ending, figure_class, logarithmic

    check_ending(path)
    shown = [name for name, one in result.by_quantity.items() if one.n]
    figure = figure_class()(figsize=(5.2 * max(1, len(shown)), 5.2), layout="constrained")
    for number, name in enumerate(shown, 1):
        scale = GIB if name == "memory" else 1
        rows = [one for one in result.predictions if one.quantity == name and one.measured and one.predicted > 0]
        measured = [(one.measured or 0) / scale for one in rows]
        predicted = [one.predicted / scale for one in rows]
        axes = figure.add_subplot(1, len(shown), number)
        few = len(rows) < FEW_POINTS
        axes.scatter(measured, predicted, s=36 if few else 7, alpha=0.8 if few else 0.35, linewidths=0)
        ends = [min(measured + predicted), max(measured + predicted)]
        axes.plot(ends, ends, color="0.3", linewidth=1, label="right")
        for factor in (0.8, 1.25):
            told = "a quarter more, a fifth less" if factor > 1 else None
            axes.plot(ends, [end * factor for end in ends], color="0.6", linewidth=0.8, linestyle="--", label=told)
        axes.legend(fontsize=8, loc="upper left")
        unit = {"memory": "GiB", "ttft": "s", "tpot": "s"}.get(name, "tokens/s")
        axes.set(xlabel=f"measured ({unit})", ylabel=f"predicted ({unit})")
        for axis in (axes.xaxis, axes.yaxis):
            logarithmic(axis)
        one = result.by_quantity[name]
        axes.set_title(f"{name}: n = {one.n}, median error {_percent(one.median_ape)}, p90 {_percent(one.p90_ape)}")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
