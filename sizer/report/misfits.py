"""The rows that are missed most, in clusters: of which engine, family and source they are, and what explains each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp
from statistics import median

from sizer.calibrate.heldout import Residual
from sizer.report.layout import cells_of, markdown_table
from sizer.tables import read_rows

MISSED, FEWEST = 150, 3
"""How many of the farthest rows of each scheme are looked at, and how many make a cluster."""
Cluster = tuple[str, str, str]

_HEAD = """## Clusters of {quantity} rows that are missed most

The {missed} farthest rows with a device, a model and a source left out, by engine, device family and source (`missed`:
of the three lists together; `rows`: all rows of the cluster, thrice; the ratio is the missed rows' median).
`data/misfits.csv` says what explains a cluster: noise in the rows, a column that no row fills, physics that the law
lacks, or data that one source alone has. Clusters of fewer than {fewest} are left out."""


def misfits_markdown(residuals: Mapping[str, Mapping[str, Sequence[Residual]]]) -> list[str]:
    """A table of clusters for each quantity."""
    parts = []
    for quantity, schemes in residuals.items():
        rows = _rows(schemes)
        if rows:
            head = _HEAD.format(quantity=quantity, missed=MISSED, fewest=FEWEST)
            parts.append(f"{head}\n\n{cells_of(rows, markdown_table)}")
    return parts


def _rows(schemes: Mapping[str, Sequence[Residual]]) -> list[dict[str, str]]:
    missed: dict[Cluster, list[float]] = defaultdict(list)
    sizes: dict[Cluster, int] = defaultdict(int)
    for residuals in schemes.values():
        for one in residuals:
            sizes[_cluster(one)] += 1
        for one in sorted(residuals, key=lambda one: (-abs(one.log_ratio), one.row.id))[:MISSED]:
            missed[_cluster(one)].append(exp(-one.log_ratio))
    found = sorted(missed.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_row(name, ratios, sizes[name]) for name, ratios in found if len(ratios) >= FEWEST]


def _cluster(one: Residual) -> Cluster:
    return one.row.engine, one.row.family, one.row.source


def _row(name: Cluster, ratios: Sequence[float], size: int) -> dict[str, str]:
    verdict, reason = explained(*name)
    return {
        "engine": name[0],
        "family": name[1],
        "source": name[2].removeprefix("https://")[:40],
        "missed": str(len(ratios)),
        "rows": str(size),
        "predicted / measured": f"{median(ratios):.2f}",
        "what it is": verdict,
        "why": reason,
    }


def explained(engine: str, family: str, source: str) -> tuple[str, str]:
    """The verdict and reason of the first row of `data/misfits.csv` that fits a cluster; an empty cell fits all."""
    for row in read_rows("misfits.csv"):
        asked = {"engine": engine, "family": family, "source": source}
        if all(row[column] in ("", value) for column, value in asked.items()):
            return row["verdict"], row["reason"]
    return "not explained", "-"
