"""Runs the trials again that chose the numbers of data/tuning.csv and data/fit_priors.csv.

python tools/tune.py peak_power 0.55 0.7 0.85 1     # held-out errors with each value; nothing is written
python tools/tune.py priors                         # one half step of empirical Bayes, written to fit_priors.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
sys.path.insert(0, str(ROOT))
HALF_STEP = "empirical Bayes, half a step from what it was: python tools/tune.py priors"


def fitters() -> dict[str, Any]:
    """The rows of decode and prefill, ready to be fitted with the values that are tried."""
    from sizer.calibrate.calibration import learned_rows
    from sizer.calibrate.drafts import read_drafted
    from sizer.calibrate.fit_constants import fitters as ready
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.serving import read_serving
    from sizer.calibrate.verification import read_verification

    rows = read_measurements(DATA / "measurements.csv") + read_verification(DATA / "verify.csv")
    rows += read_drafted(DATA / "speculation.csv")
    return ready(learned_rows(rows, read_serving(DATA / "serving.csv")))


def trial(name: str, values: list[float]) -> None:
    """Print the held-out errors of scored rows with each value."""
    from sizer.calibrate.heldout import SCHEMES, errors, held_out
    from sizer.tuning import try_instead

    for value in values:
        try_instead({name: value})
        for quantity, fitter in fitters().items():
            for scheme in SCHEMES:
                seen = errors([one.log_ratio for one in held_out(fitter, scheme) if one.row.scored])
                print(
                    f"{name} {value:g}: {quantity}, one {scheme} left out: median {seen.median_ape:.1%}, "
                    f"p90 {seen.p90_ape:.1%}, bias {seen.bias:+.1%}",
                    flush=True,
                )


def half_step() -> None:
    """Move each spread that rows tell to the geometric mean of what it is and what they tell."""
    from sizer.calibrate.terms import TERMS
    from sizer.calibrate.tune_priors import refined

    path = DATA / "fit_priors.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for quantity, fitter in fitters().items():
        found = refined(fitter, fitter.solve(), TERMS[quantity])
        for row in rows:
            told = found[row["term"]].spreads.get(row["level"]) if row["quantity"] == quantity else None
            if told:
                step = f"{(float(row['spread']) * told) ** 0.5:.3g}"
                if step != row["spread"]:
                    row.update(spread=step, source=HALF_STEP)
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """What is asked for on the command line."""
    words = sys.argv[1:]
    if words == ["priors"]:
        half_step()
    elif len(words) >= 2:
        trial(words[0], [float(word) for word in words[1:]])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
