"""How long `sizer fit` takes over the whole catalogue, and `sizer hardware` over all devices, each in its own process.

Run: python benchmarks/fit.py [RUNS]. Prints the best of the runs as CPU and wall time, start included; the
goal for `fit` is 2 s on a quiet machine. CPU time is what tells on a busy one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

FIT_GOAL_S = 2.0
COMMANDS = {
    "fit, 24 GiB card": ["fit", "--device", "rtx-4090"],
    "fit, 80 GiB card with vLLM": ["fit", "--device", "h100"],
    "fit, 128 GiB Mac": ["fit", "--device", "m4-max"],
    "fit, 8 GiB card, every loss": ["fit", "--device", "rtx-4060", "--max-loss", "10"],
    "hardware, 70B": ["hardware", "meta-llama/Llama-3.1-70B", "--min-speed", "20", "--offline"],
}


def timed(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of one run; it must succeed."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "sizer", *command], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu_s, time.perf_counter() - start


def main(runs: int) -> None:
    """Each command `runs` times."""
    for name, command in COMMANDS.items():
        best = min(timed(command) for _ in range(runs))
        goal = f" (goal {FIT_GOAL_S:g} s)" if name.startswith("fit") else ""
        print(f"{name:<28} {best[0]:.2f} s CPU, {best[1]:.2f} s wall{goal}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
