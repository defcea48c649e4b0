"""Held-out errors of a calibration, for the terminal and for docs/accuracy.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import exp, log
from statistics import median

from sizer.calibrate.calibration import COMMAND, Calibration
from sizer.calibrate.drafts import Round, held_out_gains
from sizer.calibrate.enough import sets_intervals
from sizer.calibrate.heldout import Errors, Residual, errors
from sizer.calibrate.intervals import held_in_bounds
from sizer.report.agreement import agreement_markdown
from sizer.report.layout import Lay, cells_of, markdown_table, text_table
from sizer.report.misfits import misfits_markdown
from sizer.tables import read_rows

FEWEST_ROWS = 10
"""Rows that a line of a table needs, and the worst that are listed."""
WORST = 20
Member = tuple[Residual, tuple[bool, float] | None]
"""A residual, whether its interval holds it, and how wide that is: high over low; None without an interval."""

_GROUPINGS: Mapping[str, Callable[[Residual], str]] = {
    "engine": lambda one: one.row.engine,
    "device family": lambda one: one.row.family,
    "kind of model": lambda one: "mixture of experts" if one.row.moe else "dense",
    "evidence": lambda one: one.evidence,
}

_HEAD = """# How right the speeds are

Written by `{command}`; do not edit.

Every row below was predicted by constants that were fitted without it: without any row of its device, of its model,
or of its source. An error is |predicted / measured - 1|; bias is the median of the signed error; the last two columns
are the share of rows inside the 90 % interval, which held-out rows of other devices, models or sources set, and the
median width of these intervals (high over low).

Twelve fits leave out every device (model, source) once: those that share least (engine, card, kernel, year, source) go
together, so that what is left knows nearly as much of a row as if its own device alone were out. What goes together
moves a row's error by chance: of three such divisions, that counts in which its error is the middle one.

The spreads that the fit shrinks by (`data/fit_priors.csv`) and the law's exponent were chosen with all rows in view.

Leaving a device out also takes away an engine that was measured on that device alone, and the other way round: such
rows are predicted from engines or devices like them, and are the tail of these tables.

Rows that stand apart (a part of the model on the host, several sequences together, few threads, requests under load)
teach the constants, but are not in the other tables, and set no interval. Of several sequences, `aggregate` are steps,
`aggregate requests` whole requests with their prompts. These errors are the law's own: what an answer bounds further
(more sequences make no less together) is not counted.
"""


_OVER_ONE = """## Cost of several tokens over one

A step of several tokens over a step of one, where the row tells it or its table has both: tokens of one sequence that
are verified, one token of each of several sequences, and what rounds of drafts took to verify.

"""
_TRIED = """## What was tried without gain

Each was judged on the same rows with one device, one model and one source left out, in this order.

"""


def accuracy_text(found: Calibration) -> str:
    """The tables of all quantities and schemes for a terminal."""
    return "\n\n".join([*_tables(found, text_table), *found.too_few])


def accuracy_markdown(found: Calibration, drafted: Sequence[Round] = ()) -> str:
    """The page docs/accuracy.md."""
    parts = [
        _HEAD.format(command=COMMAND),
        *_tables(found, markdown_table, "#"),
        *_over_one(found),
        *_gains(found, drafted),
        *_worst(found),
    ]
    parts += [part for part in (agreement_markdown(found.residuals),) if part]
    parts += [*misfits_markdown(found.residuals), _TRIED + cells_of(list(read_rows("tried.csv")), markdown_table)]
    parts += found.too_few
    return "\n\n".join(parts) + "\n"


def _gains(found: Calibration, drafted: Sequence[Round]) -> list[str]:
    """Gains of drafts told from the rounds of other sources, by engine and kind of model and by method."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one, told in held_out_gains(drafted, found.apart["decode"]["source"]):
        for name in ("all", f"{one.runtime}, {one.kind}", one.method):
            groups[name].append((one.speedup, told))
    rows = [_gain_row(name, pairs) for name, pairs in sorted(groups.items(), key=lambda item: -len(item[1]))]
    return [f"## Gains of drafts, one source left out\n\n{cells_of(rows, markdown_table)}"] if rows else []


def _gain_row(name: str, pairs: Sequence[tuple[float, float]]) -> dict[str, str]:
    seen = errors([log(measured / told) for measured, told in pairs])
    gain = f"{median([measured for measured, _ in pairs]):.2f}"
    return {"": name, "n": str(seen.n), "median gain": gain, **_error_cells(seen)}


def _error_cells(seen: Errors) -> dict[str, str]:
    return {"median error": f"{seen.median_ape:.1%}", "p90 error": f"{seen.p90_ape:.1%}", "bias": f"{seen.bias:+.1%}"}


def _over_one(found: Calibration) -> list[str]:
    """What a step of several tokens takes over one of one token, of rows that tell that ratio, by what was left out."""
    rows = []
    for scheme, apart in found.apart["decode"].items():
        alone = {_named(one): one.log_ratio for one in found.residuals["decode"][scheme] if one.row.traits}
        groups: dict[str, list[float]] = defaultdict(list)
        for one in apart:
            if one.row.against:
                groups[one.row.apart.removesuffix(" over one token")].append(-one.log_ratio)
            elif one.row.traits and one.row.apart in {"verification", "aggregate"} and _named(one) in alone:
                groups[one.row.apart].append(alone[_named(one)] - one.log_ratio)
        for name, ratios in sorted(groups.items()):
            seen = errors(ratios)
            rows.append({"": f"{name}, one {scheme} left out", "n": str(seen.n), **_error_cells(seen)})
    return [f"{_OVER_ONE}{cells_of(rows, markdown_table)}"] if rows else []


def _named(one: Residual) -> Hashable:
    """What a row's table has the same step of one token under."""
    return one.row.source, one.row.traits and one.row.traits._replace(tokens=0.0)


def _worst(found: Calibration) -> list[str]:
    """The rows of decode that lie farthest from what the rows of other models say, with what is known of them."""
    residuals = sorted(found.residuals["decode"]["model"], key=lambda one: -abs(one.log_ratio))[:WORST]
    rows = [
        {
            "row": one.row.id,
            "engine": one.row.engine,
            "device": one.row.device,
            "model": one.row.model.rpartition("/")[2],
            "kernel": one.row.groups["kernel"].partition(": ")[2],
            "predicted / measured": f"{exp(-one.log_ratio):.2f}",
            "likeness of the nearest": f"{one.nearest:.2f}",
        }
        for one in residuals
    ]
    title = "## The rows of decode that are missed most, one model left out"
    return [f"{title}\n\n{cells_of(rows, markdown_table)}"] if rows else []


def _tables(found: Calibration, lay: Lay, heading: str = "") -> list[str]:
    """For each quantity the errors by what was left out, then by engine, device and kind of model."""
    parts = []
    mark = f"{heading}# " if heading else ""
    for quantity, schemes in found.residuals.items():
        told = sets_intervals(schemes)
        inside = held_in_bounds(schemes) if told else {name: [None] * len(rest) for name, rest in schemes.items()}
        rows = [
            _row(f"one {scheme} left out", list(zip(residuals, inside[scheme], strict=True)))
            for scheme, residuals in schemes.items()
            if residuals
        ]
        if rows:
            parts.append(f"{mark}{quantity.capitalize()}\n\n{cells_of(rows, lay)}")
        for scheme, residuals in schemes.items():
            for title, key in _GROUPINGS.items():
                groups: dict[str, list[Member]] = defaultdict(list)
                for one, held in zip(residuals, inside[scheme], strict=True):
                    groups[key(one)].append((one, held))
                rows = [
                    _row(name, members)
                    for name, members in sorted(groups.items(), key=lambda item: -len(item[1]))
                    if len(members) >= FEWEST_ROWS
                ]
                deeper = f"{mark and '### '}{quantity.capitalize()} by {title}, one {scheme} left out"
                if rows:
                    parts.append(f"{deeper}\n\n{cells_of(rows, lay)}")
        apart = _apart(found.apart[quantity])
        if apart:
            deeper = f"{mark and '### '}{quantity.capitalize()} of rows apart"
            parts.append(f"{deeper}\n\n{cells_of(apart, lay)}")
    return parts


def _apart(schemes: Mapping[str, Sequence[Residual]]) -> list[dict[str, str]]:
    """A row for each kind of rows and each scheme: the errors alone, as these rows have no interval."""
    rows = []
    for scheme, residuals in schemes.items():
        kinds: dict[str, list[Member]] = defaultdict(list)
        for one in residuals:
            kinds[one.row.apart].append((one, None))
        for kind, members in sorted(kinds.items()):
            if len(members) >= FEWEST_ROWS:
                rows.append(_row(f"{kind}, one {scheme} left out", members))
    return rows


def _row(name: str, residuals: Sequence[Member]) -> dict[str, str]:
    seen = errors([one.log_ratio for one, _ in residuals])
    row = {"": name, "n": str(seen.n), **_error_cells(seen)}
    bounds = [held for _, held in residuals if held is not None]
    if not bounds:
        return row
    inside = sum(held for held, _ in bounds) / len(bounds)
    return {**row, "in interval": f"{inside:.1%}", "width": f"{median([width for _, width in bounds]):.2f}"}
