"""What each part of the law gains: python tools/gains.py [decode|prefill]. Half an hour and more for each quantity.

Leaves out one part of the law at a time (rows of data/law_parts.csv: terms, levels of effects, a tuned number, the rows
near a case), fits what is left anew and scores it on rows that were left out by device, by model and by source. Writes
docs/gains.csv, the table of docs/speed.md and docs/gains.png.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA, DOCS = ROOT / "data", ROOT / "docs"
sys.path.insert(0, str(ROOT))
WHOLE = "the whole law"
QUANTITIES = {"decode": "decode", "prefill": "prompts"}
BEGIN, END = "<!-- gains -->", "<!-- end of gains -->"


def observed(quantity: str) -> list[Any]:
    """The rows that teach a quantity, by the law as it is tried."""
    from sizer.calibrate.calibration import learned_rows
    from sizer.calibrate.drafts import read_drafted
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.serving import read_serving
    from sizer.calibrate.verification import read_verification

    rows = read_measurements(DATA / "measurements.csv") + read_verification(DATA / "verify.csv")
    rows += read_drafted(DATA / "speculation.csv")
    return [row for row in learned_rows(rows, read_serving(DATA / "serving.csv")) if row.quantity == quantity]


def without(rows: list[Any], priors: dict[str, Any], kind: str, names: str) -> tuple[list[Any], dict[str, Any]]:
    """The rows without the amounts of some terms, or the priors without the effects of some levels of groups."""
    if kind == "terms":
        gone = set(names.split())
        kept = [
            replace(
                row,
                amounts=tuple(one for one in row.amounts if one.term not in gone),
                against=tuple(one for one in row.against if one.term not in gone),
            )
            for row in rows
        ]
        return [row for row in kept if row.amounts], priors
    if kind == "levels":
        gone = set(names.split("|"))
        return rows, {
            term: replace(prior, spreads={level: value for level, value in prior.spreads.items() if level not in gone})
            for term, prior in priors.items()
        }
    return rows, priors


def scores(rows: list[Any], priors: dict[str, Any], prompts: Any, *, nearby: bool) -> dict[str, str]:
    """Median and 90th percentile of held-out errors by scheme, in per cent; `prompts` are ready to be fitted."""
    from sizer.calibrate.fit_constants import Fitter
    from sizer.calibrate.heldout import SCHEMES, errors, held_out

    fitter, found = Fitter(rows, priors, prompts), {}
    for scheme in SCHEMES:
        ratios = [one.log_ratio if nearby else one.of_law for one in held_out(fitter, scheme) if one.row.scored]
        seen = errors(ratios)
        found |= {f"{scheme}_median": f"{seen.median_ape:.1%}", f"{scheme}_p90": f"{seen.p90_ape:.1%}"}
    return found


def measured(quantity: str) -> list[dict[str, str]]:
    """The scores of the whole law and of the law without each part."""
    from sizer.calibrate.fit_constants import Fitter
    from sizer.calibrate.terms import TERMS
    from sizer.tuning import try_instead

    rows, priors = observed(quantity), TERMS[quantity]
    prompts = Fitter(observed("prefill"), TERMS["prefill"]) if quantity != "prefill" else None
    found = [{"quantity": quantity, "without": WHOLE, **scores(rows, priors, prompts, nearby=True)}]
    with (DATA / "law_parts.csv").open(encoding="utf-8", newline="") as lines:
        parts = [row for row in csv.DictReader(lines) if row["quantity"] == quantity]
    for part in parts:
        print(f"{quantity} without {part['part']}", file=sys.stderr, flush=True)
        seen, known = without(rows, priors, part["kind"], part["names"])
        if part["kind"] == "numbers":
            try_instead({name: float(value) for name, value in (one.split("=") for one in part["names"].split())})
            seen = observed(quantity)
        told = scores(seen, known, prompts, nearby=part["kind"] != "nearby")
        try_instead({})
        found.append({"quantity": quantity, "without": part["part"], **told})
    return found


def table(rows: list[dict[str, str]]) -> str:
    """The rows in Markdown: median and 90th percentile by what was left out together."""
    lines = ["| | without | a device out | a model out | a source out |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [f"{row[f'{scheme}_median']}, {row[f'{scheme}_p90']}" for scheme in ("device", "model", "source")]
        lines.append(f"| {QUANTITIES[row['quantity']]} | {row['without']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """A bar for each part: how much the three median errors grow without it, on average, in points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    for number, (quantity, words) in enumerate(QUANTITIES.items()):
        own = [row for row in rows if row["quantity"] == quantity]
        if not own:
            continue
        whole = _mean(own[0], "median")
        parts = sorted((_mean(row, "median") - whole, row["without"]) for row in own[1:])
        axes = figure.add_subplot(1, len(QUANTITIES), number + 1)
        axes.barh([name for _, name in parts], [gain for gain, _ in parts], color="#3b6ea5")
        axes.set_xlabel("points of median error more without it")
        axes.set_title(f"{words}: {whole:.1f} % with all")
        axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=100, metadata={"Software": ""})


def _mean(row: dict[str, str], what: str) -> float:
    return sum(float(row[f"{scheme}_{what}"].rstrip("%")) for scheme in ("device", "model", "source")) / 3


def main() -> None:
    """Measure what is asked for, and write the table and the picture of all."""
    asked = sys.argv[1:] or list(QUANTITIES)
    if not set(asked) <= set(QUANTITIES):
        raise SystemExit(__doc__)
    path = DOCS / "gains.csv"
    before = list(csv.DictReader(path.open(encoding="utf-8", newline=""))) if path.is_file() else []
    new = {quantity: measured(quantity) for quantity in asked}
    old = {quantity: [row for row in before if row["quantity"] == quantity] for quantity in QUANTITIES}
    rows = [row for quantity in QUANTITIES for row in new.get(quantity, old[quantity])]
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = DOCS / "speed.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    text = f"{head}{BEGIN}\n\n{table(rows)}\n\n{END}{rest.partition(END)[2]}"
    page.write_text(text, encoding="utf-8")
    draw(rows, DOCS / "gains.png")


if __name__ == "__main__":
    main()
