"""Writes the outputs and the accuracy table that README.md shows: python tools/readme.py [--check].

Each `<!-- output: COMMAND -->` block is replaced by what the command prints, `<!-- accuracy -->` by the held-out
errors of docs/accuracy.md. With --check nothing is written and a difference is an error.
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


def printed(command: str) -> str:
    """What a sizer command prints."""
    words = shlex.split(command)
    run = subprocess.run(  # noqa: S603 - commands of our own README
        [sys.executable, "-m", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return run.stdout


def held_out_rows(report: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading of docs/accuracy.md, header and rule left out."""
    _, found, after = report.partition(f"\n{heading}\n")
    if not found:
        raise SystemExit(f"docs/accuracy.md has no {heading!r}; run: python tools/calibrate.py")
    lines = [line for line in after.split("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def accuracy(report: str) -> str:
    """The accuracy table of the first screen: every row is one that was held out of the fit."""
    table = [["what", "held out", "n", "median error", "p90", "bias", "in the 90 % interval", "its width"], ["---"] * 8]
    for what, heading in (("decode", "## Decode"), ("prefill", "## Prefill")):
        table += [[what, *cells] for cells in held_out_rows(report, heading)]
    for scheme in ("device", "model"):
        rows = held_out_rows(report, f"### Decode by engine, one {scheme} left out")
        table += [[f"decode, {cells[0]}", f"one {scheme} left out", *cells[1:]] for cells in rows[:3]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def rendered(text: str) -> str:
    """README text with its blocks made anew."""
    text = OUTPUT.sub(lambda m: f"{m[1]}```text\n{printed(m['command']).rstrip()}\n```\n{m[4]}", text)
    table = accuracy((ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8"))
    return ACCURACY.sub(lambda m: f"{m[1]}\n{table}\n\n{m[3]}", text)


def main() -> None:
    """Write README.md anew, or say that it is stale."""
    old = README.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" in sys.argv:
        sys.exit("README.md is stale: python tools/readme.py" if new != old else 0)
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
