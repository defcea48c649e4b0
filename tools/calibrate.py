"""Makes everything that is fitted anew: python tools/calibrate.py. The same rows give the same bytes.

Reads measurements.csv, serving.csv, verify.csv, speculation.csv, fit_priors.csv and tuning.csv of data/; writes
constants.json, nearby.tsv and draft_rounds.csv there, docs/accuracy.md, the table and the outputs of README.md.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Fit, judge on held-out rows, and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from sizer.calibrate.calibration import calibrate
    from sizer.calibrate.constants_file import constants_text
    from sizer.calibrate.drafts import read_drafted, rounds, rounds_text
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.serving import read_serving
    from sizer.calibrate.verification import read_verification
    from sizer.report.accuracy import accuracy_markdown
    from sizer.speed.law import constants_of

    data = ROOT / "data"
    rows = read_measurements(data / "measurements.csv") + read_verification(data / "verify.csv")
    rows += read_drafted(data / "speculation.csv")
    found = calibrate(rows, read_serving(data / "serving.csv"))
    (data / "constants.json").write_text(constants_text(found.document), encoding="utf-8")
    (data / "nearby.tsv").write_text(found.nearby, encoding="utf-8")
    drafted = rounds(data / "speculation.csv", constants_of(found.document))
    (data / "draft_rounds.csv").write_text(rounds_text(drafted), encoding="utf-8")
    (ROOT / "docs" / "accuracy.md").write_text(accuracy_markdown(found, drafted), encoding="utf-8")
    runpy.run_path(str(ROOT / "tools" / "readme.py"), run_name="__main__")


if __name__ == "__main__":
    main()
