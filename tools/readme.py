"""Writes the outputs and the accuracy table that README.md shows: python tools/readme.py [--check].

Each `<!-- output: COMMAND -->` block is replaced by what the command prints, `<!-- accuracy -->` by the summary of
docs/accuracy.md. With --check nothing is written and a difference is an error.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
OUTPUT = re.compile(r"(<!-- output: (?P<command>[^\n]+) -->\n)(?P<old>.*?)(<!-- end -->)", re.DOTALL)
ACCURACY = re.compile(r"(<!-- accuracy -->\n)(?P<old>.*?)(<!-- end -->)", re.DOTALL)
SUMMARY = re.compile(r"<!-- summary -->\n(?P<table>.*?)<!-- end summary -->", re.DOTALL)


def printed(command: str) -> str:
    """What a sizer command prints."""
    words = shlex.split(command)
    run = subprocess.run(  # noqa: S603 - commands of our own README
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return run.stdout


def rendered(text: str) -> str:
    """README text with its blocks made anew."""
    text = OUTPUT.sub(lambda m: f"{m[1]}```text\n{printed(m['command']).rstrip()}\n```\n{m[4]}", text)
    summary = SUMMARY.search((ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8"))
    if summary is None:
        raise SystemExit("docs/accuracy.md has no summary; run: sizer calibrate data/measurements.csv")
    return ACCURACY.sub(lambda m: f"{m[1]}\n{summary['table'].strip()}\n\n{m[3]}", text)


def main() -> None:
    """Write README.md anew, or say that it is stale."""
    old = README.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" in sys.argv:
        sys.exit("README.md is stale: python tools/readme.py" if new != old else 0)
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
