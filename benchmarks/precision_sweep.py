"""Time of sizing one model in every precision: python benchmarks/precision_sweep.py [config.json …]"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from sizer.model import families
from sizer.model.architecture import Architecture
from sizer.precision.names import all_precisions
from sizer.precision.reference import reference_architecture
from sizer.precision.store import store

REPEATS = 20


def sweep_s(model: Architecture) -> float:
    """Seconds for every precision of the table, once."""
    started = perf_counter()
    for name in all_precisions():
        store(model, name)
    return perf_counter() - started


def main() -> None:
    """Print the first and the median sweep of each model."""
    paths = sys.argv[1:]
    models = [families.build(json.loads(Path(path).read_text(encoding="utf-8")), path) for path in paths]
    models.insert(0, reference_architecture())
    for model in models:
        first = sweep_s(model)
        usual = median(sweep_s(model) for _ in range(REPEATS))
        count = len(all_precisions())
        print(f"{model.model_id}: {count} precisions, first {first * 1e3:.1f} ms, then {usual * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
