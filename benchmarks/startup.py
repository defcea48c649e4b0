"""How long an offline estimate takes, against `python -c "import click"`, measured in pairs.

Run: python benchmarks/startup.py [PAIRS]. Prints the median of the ratios; the goal is 3.5 at most.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

IMPORT_CLICK = [sys.executable, "-c", "import click"]
ESTIMATE = [
    sys.executable, "-m", "sizer", "estimate", "meta-llama/Meta-Llama-3-8B-Instruct", "--device", "a100", "--offline",
]  # fmt: skip
GOAL = 3.5
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Both are compiled once, as where they are installed."""


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command; it must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start


def main(pairs: int) -> None:
    """Time both commands one after the other, `pairs` times, after one warm-up of each."""
    seconds(IMPORT_CLICK), seconds(ESTIMATE)
    timed = [(seconds(IMPORT_CLICK), seconds(ESTIMATE)) for _ in range(pairs)]
    ratio = median(estimate / click for click, estimate in timed)
    click_ms, estimate_ms = (1000 * median(column) for column in zip(*timed, strict=True))
    print(
        f"import click {click_ms:.0f} ms, estimate {estimate_ms:.0f} ms: {ratio:.2f} times (goal {GOAL}), {pairs} pairs"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
