"""Held-out errors of points under load, as text and as the tables of docs/serving.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import exp

from sizer.calibrate.heldout import quantile
from sizer.calibrate.load_calibration import COMMAND, Held, LoadCalibration
from sizer.report.layout import Lay, cells_of, markdown_table, text_table

TITLES = {
    "known": "a fifth of the cases left out",
    "model": "one model left out",
    "system": "one system left out",
    "engine": "one engine left out",
}
BY: dict[str, Callable[[Held], str]] = {
    "engine": lambda one: one.case.served.case.engine.name,
    "system": lambda one: one.case.system,
    "model": lambda one: one.case.served.case.architecture.model_id,
    "split": lambda one: one.case.names["split"].partition(": ")[2],
}
LEAST_POINTS = 10
"""Points that a line of the report needs."""


def serving_text(found: LoadCalibration, lay: Lay = text_table) -> str:
    """The errors by what was left out, then by engine, system, model and split."""
    return "\n\n".join(_parts(found, lay))


def serving_markdown(found: LoadCalibration) -> str:
    """The same as a page."""
    head = "# Held-out errors of servers under load"
    note = f"Written by `{COMMAND} --report docs/serving_accuracy.md`; do not edit."
    return "\n\n".join([head, note, *_parts(found, markdown_table)]) + "\n"


def _parts(found: LoadCalibration, lay: Lay) -> Iterator[str]:
    """The report, part by part: errors by what was left out, then by model, system and engine."""
    count = len(found.alone)
    yield (
        f"{count:,} points; errors are |predicted/measured - 1| of points that the fit never saw. The spreads of its "
        "priors were chosen by these folds, and some rules of the servers were told from these times: expect a little "
        "more of fresh points."
    )
    rows = [
        {"left out": TITLES[scheme], **_errors(held), **_covered(found, scheme)} for scheme, held in found.held.items()
    ]
    alone = {"left out": "nothing fitted: as an estimate tells", **_errors(found.alone)}
    yield cells_of([*rows, {**dict.fromkeys(rows[0], ""), **alone}], lay)
    yield (
        "TPOT in and TTFT in: points within the 90 % interval that the spread of the other folds gives, which never "
        "saw them. With few folds (systems, engines) the others tell little of the one left out."
    )
    for name, key in BY.items():
        scheme = name if name in found.held else "known"
        beside = f"{TITLES['known']} (known) and " if scheme != "known" else ""
        yield f"By {name} ({TITLES[scheme]}), beside {beside}what an estimate tells (law):"
        yield cells_of(list(_groups(found, name, key)), lay)
    if found.skipped:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in Counter(found.skipped).most_common())
        yield f"Rows left out: {reasons}."


def _covered(found: LoadCalibration, scheme: str) -> dict[str, str]:
    return {f"{name.upper()} in": f"{found.coverage[scheme][name]:.0%}" for name in ("tpot", "ttft")}


def _groups(found: LoadCalibration, name: str, key: Callable[[Held], str]) -> Iterator[dict[str, str]]:
    scheme = name if name in found.held else "known"
    groups: dict[str, list[tuple[Held, Held, Held]]] = defaultdict(list)
    for pair in zip(found.held[scheme], found.held["known"], found.alone, strict=True):
        groups[key(pair[0])].append(pair)
    for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        if len(members) < LEAST_POINTS:
            continue
        cells = {name: group, **_errors([far for far, _, _ in members])}
        near, alone = _errors([held for _, held, _ in members]), _errors([held for _, _, held in members])
        if scheme != "known":
            cells["known: TPOT"], cells["TTFT"] = near["TPOT median"], near["TTFT median"]
        cells["law: TPOT"], cells["TTFT "] = alone["TPOT median"], alone["TTFT median"]
        yield cells


def _errors(held: Sequence[Held]) -> dict[str, str]:
    cells = {"n": str(len(held))}
    for name in ("tpot", "ttft"):
        sizes = sorted(abs(exp(-getattr(one, name)) - 1) for one in held)
        signed = sorted(exp(-getattr(one, name)) - 1 for one in held)
        cells[f"{name.upper()} median"] = f"{quantile(sizes, 0.5):.1%}"
        cells[f"{name.upper()} p90"] = f"{quantile(sizes, 0.9):.0%}"
        cells[f"{name.upper()} bias"] = f"{quantile(signed, 0.5):+.0%}"
    return cells
