"""The section of docs/accuracy.md on what measurements of one case differ by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sizer.calibrate.agreement import Disagreement, cards_told_twice, disagreements
from sizer.calibrate.heldout import Residual, quantile
from sizer.report.layout import cells_of, markdown_table

FEWEST_PAIRS = 5
"""Pairs that an engine needs for a line of its own."""

_TEXT = """## What two sources disagree by

No law is better than the rows that judge it agree. Two rows ask the same where engine, backend, device, model,
precision and tokens a step are the same and what the step moves and multiplies is within a fiftieth: what still lies
between them (builds, drivers, clocks, power, owners) no column tells. A pair is a case and two sources, or one source
that measured it more than once (of machines of the same name, where owners send them); "a card told twice" are two
sources of one engine on one device, whatever they ran, after the law (with a row's model left out) told the rest. Apart
is how far the faster lies above the slower.

{tables}"""


def agreement_markdown(residuals: Mapping[str, Mapping[str, Sequence[Residual]]]) -> str:
    """The section, from the residuals of each quantity and scheme."""
    tables = []
    for quantity, schemes in residuals.items():
        rows = _rows_of(schemes["model"])
        if rows:
            tables.append(f"### {quantity.capitalize()}\n\n{cells_of(rows, markdown_table)}")
    return _TEXT.format(tables="\n\n".join(tables)) if tables else ""


def _rows_of(residuals: Sequence[Residual]) -> list[dict[str, str]]:
    asked = disagreements([one.row for one in residuals])
    return [
        *_told("two sources", [one for one in asked if len(one.sources) > 1]),
        *_told("one source twice", [one for one in asked if len(one.sources) == 1]),
        *_told("a card told twice", cards_told_twice(residuals)),
    ]


def _told(title: str, pairs: Sequence[Disagreement]) -> list[dict[str, str]]:
    """A line for all pairs, and one for each engine and family of devices with some."""
    groups: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        for name in (title, f"{title}, {pair.engine}", f"{title}, {pair.family}"):
            groups[name].append(pair.apart)
    return [
        {
            "": name,
            "pairs": str(len(apart)),
            "median apart": f"{quantile(sorted(apart), 0.5):.1%}",
            "p90 apart": f"{quantile(sorted(apart), 0.9):.1%}",
        }
        for name, apart in sorted(groups.items(), key=lambda item: -len(item[1]))
        if len(apart) >= FEWEST_PAIRS
    ]
