"""Writes data/size_only.csv: how the catalogue's models compare with what their size alone tells.

    python tools/size_only.py
    python tools/size_only.py --try ALIKE 0.06 0.24     # errors with other values of a constant of `name_only`

Every chat model of the catalogue is asked for by its total (and active) parameters in two digits, as names tell them,
the models of its own shape left out, and by itself, at 8,192 tokens on one card with room for all. The table has the
fifth and the ninety-fifth percentile of own over told, and how many models lie between them when one is left out of the
percentiles.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from math import exp, log
from pathlib import Path

from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.catalogue import find
from sizer.device.stated import override
from sizer.errors import SizerError
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue, name_only, sizes_known
from sizer.model.read.name_only import like, nearest
from sizer.model.read.sizes_known import known_sizes, shape_of
from sizer.workload import Workload

TARGET = Path(__file__).resolve().parent.parent / "data" / "size_only.csv"
SHARE = 0.05


def as_named(params: int) -> int:
    """Parameters in two digits, as names tell them."""
    step = 10 ** (len(str(params)) - 2)
    return round(params / step) * step


def answer(architecture: Architecture) -> Estimate:
    """The estimate that both are compared by."""
    target = override(find("rtx-4090"), None, 2**42, None)
    work = Workload(prompt_tokens=7680, output_tokens=512, context_tokens=8192)
    return estimate(Question(replace(architecture, basis=Basis.CATALOGUE), target, "q4_k_m", work, engine="llama.cpp"))


def figures(item: Estimate) -> dict[str, float]:
    """Memory, decode and prefill."""
    assert item.speed is not None
    return {
        "memory": float(item.footprint.total_bytes),
        "decode": item.speed.decode.tokens_per_s,
        "prefill": item.speed.prefill.tokens_per_s,
    }


def ratios() -> dict[str, list[float]]:
    """Own over told of every model that has a neighbour."""
    found: dict[str, list[float]] = {"memory": [], "decode": [], "prefill": []}
    shapes: set[str] = set()
    for model_id in known_sizes():
        entry = catalogue.find(model_id)
        if entry is None or shape_of(entry) in shapes:
            continue
        shapes.add(shape_of(entry))
        try:
            own = build(catalogue.load(entry), model_id, Basis.CATALOGUE)
            active = own.active_params if own.active_params < own.total_params else None
            near = nearest(as_named(own.total_params), active and as_named(active), without=shape_of(entry))
            told = next((one for other in near if (one := like(other, own.total_params, active))), None)
            if told is None:
                continue
            mine, theirs = figures(answer(replace(own, quantization=None))), figures(answer(told))
        except SizerError:
            continue
        for name, value in mine.items():
            found[name].append(value / theirs[name])
    return found


def percentile(values: list[float], share: float) -> float:
    """The value with that share below it."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * (len(ordered) - 1))))]


def trial(name: str, values: list[float]) -> None:
    """Print the errors with each value of a constant of `sizer/model/read/name_only.py`; nothing is written."""
    rooms = [room for room in (name_only, sizes_known) if isinstance(getattr(room, name, None), int | float)]
    if not rooms:
        raise SystemExit(f"{name} is no figure of sizer/model/read/name_only.py and sizes_known.py")
    own = getattr(rooms[0], name)
    for value in values:
        for room in rooms:
            setattr(room, name, type(own)(value))
        for quantity, found in ratios().items():
            errors = [exp(abs(log(ratio))) - 1 for ratio in found]
            median, p90 = percentile(errors, 0.5), percentile(errors, 0.9)
            print(f"{name} {value:g}: {quantity}, {len(errors)} models: median {median:.1%}, p90 {p90:.1%}", flush=True)


def main() -> None:
    """Write the table, or try other values."""
    words = sys.argv[1:]
    if words[:1] == ["--try"] and len(words) > 2:
        trial(words[1], [float(word) for word in words[2:]])
        return
    if words:
        raise SystemExit(__doc__)
    with TARGET.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("quantity", "n", "low", "median", "high", "held"))
        for name, values in ratios().items():
            low, high = percentile(values, SHARE), percentile(values, 1 - SHARE)
            held = 0
            for index, value in enumerate(values):
                others = values[:index] + values[index + 1 :]
                held += percentile(others, SHARE) <= value <= percentile(others, 1 - SHARE)
            row = (
                len(values),
                f"{low:.4f}",
                f"{percentile(values, 0.5):.4f}",
                f"{high:.4f}",
                f"{held / len(values):.3f}",
            )
            writer.writerow((name, *row))


if __name__ == "__main__":
    main()
