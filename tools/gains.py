"""What each part of the law gains: python tools/gains.py [decode|prefill]. Some twenty minutes for each quantity.

Leaves out one part of the law at a time (rows of data/law_parts.csv: terms, levels of effects, a tuned number, the rows
near a case), fits what is left anew and scores it on rows that were left out by device, by model and by source, in one
division into folds. A fit without a part starts from the whole law's to the same rows, which has seen none of those
left out either. Writes docs/gains.csv, the table of docs/speed.md and docs/gains.png.
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


Fold = tuple[str, Any, set[str]]
"""A scheme, its key, and the keys that are left out together."""


class Remembered:
    """Rows of prompts ready to be fitted, that fit each selection of them once: what a part of decode is left out of
    takes the same prompts in each fold."""

    def __init__(self, fitter: Any, known: dict[bytes, Any] | None = None) -> None:
        self.fitter, self.known = fitter, {} if known is None else known

    def without(self, held_out: Any) -> Remembered:
        """The same with some rows held out."""
        return Remembered(self.fitter.without(held_out), self.known)

    def fitted(self) -> Any:
        """The constants, solved or remembered."""
        key = self.fitter.weights.tobytes()
        if key not in self.known:
            self.known[key] = self.fitter.fitted()
        return self.known[key]

    def learn(self, tried: list[Fold]) -> None:
        """Fit what these folds will ask for, on all processors: what a copy of this process learns is lost with it."""
        from sizer.calibrate.workers import in_order

        selected = [self.fitter.without(_within(key, names)) for _, key, names in tried]
        fitted = in_order(lambda one: one.fitted(), selected)
        self.known |= {one.weights.tobytes(): terms for one, terms in zip(selected, fitted, strict=True)}


def _within(key: Any, names: set[str]) -> Any:
    return lambda row: key(row) in names


def _folds(rows: list[Any]) -> list[Fold]:
    """The folds that are tried."""
    from sizer.calibrate.heldout import SCHEMES, folds

    return [(scheme, key, names) for scheme, key in SCHEMES.items() for names in folds(rows, key)]


Parameters = dict[Any, float]
"""The value of each parameter of a fit."""


def residuals(
    rows: list[Any], priors: dict[str, Any], prompts: Any, tried: list[Fold], starts: list[Parameters] | None = None
) -> tuple[dict[str, list[tuple[bool, float, float]]], list[Parameters]]:
    """Rows that were left out, by scheme, and the fit of each fold; `prompts` are ready to be fitted, and `starts` are
    fits to the same folds to begin from. A row is whether it is scored, its residual and that of the law alone."""
    from sizer.calibrate.fit_constants import Fitter
    from sizer.calibrate.likeness import Alike
    from sizer.calibrate.workers import in_order

    fitter = Fitter(rows, priors, prompts)
    alike = Alike(fitter.rows)

    def fold(number: int) -> tuple[list[tuple[bool, float, float]], Parameters]:
        return _fold(fitter, tried[number], alike, starts[number] if starts else {})

    found: dict[str, list[tuple[bool, float, float]]] = {}
    fits = []
    for (scheme, _, _), (told, fit) in zip(tried, in_order(fold, range(len(tried))), strict=True):
        found.setdefault(scheme, []).extend(told)
        fits.append(fit)
    return found, fits


def _fold(
    fitter: Any, tried: Fold, alike: Any, start: Parameters
) -> tuple[list[tuple[bool, float, float]], Parameters]:
    """The rows of one fold told by the others, and the fit that tells them."""
    import numpy as np

    _, key, names = tried
    known, index = fitter.without(_within(key, names)), fitter.design.index
    known.start = np.array([start.get(name, at) for name, at in zip(index, known.center, strict=True)])
    theta = known.solve()
    held = np.array([key(row) in names for row in fitter.rows])
    log_ratios = np.log(known.seconds(theta)) - fitter.measured
    told = [
        (fitter.rows[number].scored, log_ratios[number] - said.log_factor, float(log_ratios[number]))
        for number, said in alike.corrections(log_ratios, held).items()
    ]
    return told, {name: float(theta[at]) for name, at in index.items()}


def scores(left_out: dict[str, list[tuple[bool, float, float]]], *, nearby: bool) -> dict[str, str]:
    """Median and 90th percentile of held-out errors by scheme, in per cent."""
    from sizer.calibrate.heldout import errors

    found: dict[str, str] = {}
    for scheme, told in left_out.items():
        seen = errors([ratio if nearby else of_law for scored, ratio, of_law in told if scored])
        found |= {f"{scheme}_median": f"{seen.median_ape:.1%}", f"{scheme}_p90": f"{seen.p90_ape:.1%}"}
    return found


def measured(quantity: str) -> list[dict[str, str]]:
    """The scores of the whole law and of the law without each part."""
    from sizer.calibrate.fit_constants import Fitter
    from sizer.calibrate.terms import TERMS
    from sizer.tuning import try_instead

    rows, priors, prompts = observed(quantity), TERMS[quantity], None
    tried = _folds(rows)
    if quantity != "prefill":
        prompts = Remembered(Fitter(observed("prefill"), TERMS["prefill"]))
        prompts.learn(tried)
    whole, starts = residuals(rows, priors, prompts, tried)
    found = [{"quantity": quantity, "without": WHOLE, **scores(whole, nearby=True)}]
    with (DATA / "law_parts.csv").open(encoding="utf-8", newline="") as lines:
        parts = [row for row in csv.DictReader(lines) if row["quantity"] == quantity]
    for part in parts:
        print(f"{quantity} without {part['part']}", file=sys.stderr, flush=True)
        told = whole
        if part["kind"] != "nearby":
            told, _ = residuals(*_left_out(rows, priors, part), prompts, tried, starts)
        try_instead({})
        row = {"quantity": quantity, "without": part["part"], **scores(told, nearby=part["kind"] != "nearby")}
        found.append(row)
    return found


def _left_out(rows: list[Any], priors: dict[str, Any], part: dict[str, str]) -> tuple[list[Any], dict[str, Any]]:
    """Rows and priors without a part: of numbers that were tuned, the rows as they are with other ones."""
    from sizer.tuning import try_instead

    if part["kind"] != "numbers":
        return without(rows, priors, part["kind"], part["names"])
    try_instead({name: float(value) for name, value in (one.split("=") for one in part["names"].split())})
    return observed(part["quantity"]), priors


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
        axes.set_xlabel("points of median error more")
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
