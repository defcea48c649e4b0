"""From measured points under load to `data/serving_constants.json`: the fit, held-out errors, spreads by evidence."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any
from zlib import crc32

from sizer.calibrate.intervals import LEAST_BOUND, conformal_bounds
from sizer.calibrate.load_cases import LoadCase, load_cases
from sizer.calibrate.load_fit import LoadFit, fit, simulate_all
from sizer.calibrate.workers import in_order
from sizer.device.kinds import device_family
from sizer.errors import InvalidInputFile, UsageError
from sizer.frozen import dataclass
from sizer.serving.benchmark import Means
from sizer.serving.corrections import EVIDENCE, Corrections
from sizer.serving.points import Point, point, read_rows
from sizer.speed.law import constants
from sizer.tables import data_path

COMMAND = "sizer calibrate data/serving.csv --output data/serving_constants.json"
INPUTS = ("serving.csv", "constants.json")
FOLDS = 5
"""A fifth of the cases is left out at a time."""
ENOUGH_POINTS = 60
"""Points that a fit, and an engine's own spread, need at the least."""
SCHEMES: Mapping[str, Callable[[LoadCase], str]] = {
    "known": lambda case: str(crc32(repr(case.same_case).encode()) % FOLDS),
    "model": lambda case: case.shape,
    "system": lambda case: case.system,
    "engine": lambda case: case.served.case.engine.name,
}
"""How points are held out, by the evidence that is then left: a fifth of the cases, a model, a system, an engine."""


@dataclass(frozen=True, slots=True)
class Held:
    """One held-out point: its case, and the logarithms of measured over predicted times."""

    case: LoadCase
    ttft: float
    tpot: float


@dataclass(frozen=True, slots=True)
class LoadCalibration:
    """The constants document, the held-out points by scheme, the same points by the law alone, and rows left out."""

    document: Mapping[str, Any]
    held: Mapping[str, Sequence[Held]]
    alone: Sequence[Held]
    skipped: Mapping[str, int]
    coverage: Mapping[str, Mapping[str, float]]
    """By scheme and quantity: of the points of a fold, those within the interval that the other folds give."""


def calibrate_serving(path: Path) -> LoadCalibration:
    """Fit the corrections to the points of a file and judge them on points that they never saw."""
    points, skipped = _points(path)
    cases = load_cases(points, constants())
    if len(cases) < ENOUGH_POINTS:
        raise InvalidInputFile(f"{str(path)!r} holds {len(cases)} points of known models and systems: too few to fit.")
    first = simulate_all(cases, Corrections({}, {}))
    held = {scheme: _held_out(cases, first, key) for scheme, key in SCHEMES.items()}
    problem, theta = fit(cases, first)
    found = problem.corrections(theta)
    document = {
        "schema_version": 1,
        "command": COMMAND,
        "inputs": digests(),
        "points": len(cases),
        "runtimes": sorted({case.served.case.engine.runtime for case in cases}),
        "systems": sorted({case.system for case in cases}),
        "families": sorted({device_family(case.served.case.device) for case in cases}),
        "spreads": {quantity: _spreads(held, quantity) for quantity in ("ttft", "tpot")},
        "effects": {term: sorted([g, v] for g, v in effects.items() if v) for term, effects in found.effects.items()},
    }
    coverage = {
        scheme: {quantity: _coverage(held[scheme], SCHEMES[scheme], quantity) for quantity in ("ttft", "tpot")}
        for scheme in SCHEMES
    }
    return LoadCalibration(document, held, _compared(cases, first), skipped, coverage)


def digests() -> dict[str, str]:
    """What the constants are fitted on: the start of each input's SHA-256."""
    return {name: sha256(data_path(name).read_bytes()).hexdigest()[:16] for name in INPUTS}


def _points(path: Path) -> tuple[list[Point], dict[str, int]]:
    found: list[Point] = []
    skipped: Counter[str] = Counter()
    for row in read_rows(path):
        read = _read(row)
        if isinstance(read, Point):
            found.append(read)
        else:
            skipped[read] += 1
    return found, dict(skipped)


def _read(row: Mapping[str, str]) -> Point | str:
    """The point of a row, or why it is none."""
    try:
        return point(row)
    except UsageError as error:
        return error.message


def _held_out(cases: Sequence[LoadCase], first: Sequence[Means], key: Callable[[LoadCase], str]) -> list[Held]:
    """Each point predicted by a fit that saw no point of its fold."""
    folds: dict[str, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        folds[key(case)].append(index)
    problem = LoadFit(cases)
    problem.observed(first)

    def residuals(members: Sequence[int]) -> list[tuple[float, float]]:
        inside = set(members)
        theta = problem.solve(None, [index for index in range(len(cases)) if index not in inside])
        chosen = [cases[index] for index in members]
        return _residuals(chosen, simulate_all(chosen, problem.corrections(theta), most=1))

    members = list(folds.values())
    found: dict[int, Held] = {}
    for indexes, pairs in zip(members, in_order(residuals, members), strict=True):
        found |= {index: Held(cases[index], *pair) for index, pair in zip(indexes, pairs, strict=True)}
    return [found[index] for index in range(len(cases))]


def _compared(cases: Sequence[LoadCase], seen: Sequence[Means]) -> list[Held]:
    return [Held(case, *pair) for case, pair in zip(cases, _residuals(cases, seen), strict=True)]


def _residuals(cases: Sequence[LoadCase], seen: Sequence[Means]) -> list[tuple[float, float]]:
    """The logarithms of measured over predicted time to the first token and per token."""
    return [
        (log((case.point.ttft_s or 1) / one.ttft_s), log((case.point.tpot_s or 1) / one.tpot_s))
        for case, one in zip(cases, seen, strict=True)
    ]


def _coverage(held: Sequence[Held], key: Callable[[LoadCase], str], quantity: str) -> float:
    """The share of points within the middle 90 % of the residuals of all folds but their own."""
    folds: dict[str, list[float]] = defaultdict(list)
    for one in held:
        folds[key(one.case)].append(getattr(one, quantity))
    inside = 0
    for name, residuals in folds.items():
        low, high = conformal_bounds([value for other, values in folds.items() if other != name for value in values])
        inside += sum(min(low, -LEAST_BOUND) <= value <= max(high, LEAST_BOUND) for value in residuals)
    return inside / len(held)


def _spreads(held: Mapping[str, Sequence[Held]], quantity: str) -> list[list[Any]]:
    """The middle 90 % of held-out residuals by the evidence that was left, and by engine where points suffice."""
    rows: list[list[Any]] = []
    for scheme in EVIDENCE:
        groups: dict[str, list[float]] = {scheme: []}
        for one in held[scheme]:
            residual = getattr(one, quantity)
            groups[scheme].append(residual)
            groups.setdefault(f"{scheme}: {one.case.served.case.engine.name}", []).append(residual)
        for name, residuals in groups.items():
            if len(residuals) >= ENOUGH_POINTS or name == scheme:
                low, high = conformal_bounds(residuals)
                rows.append([name, round(min(low, -LEAST_BOUND), 4), round(max(high, LEAST_BOUND), 4), len(residuals)])
    return rows


def constants_text(document: Mapping[str, Any]) -> str:
    """The document as the file has it: one effect a line."""
    lines = ["{"]
    for name, value in document.items():
        if name not in {"spreads", "effects"}:
            lines.append(f"  {json.dumps(name)}: {json.dumps(value)},")
    for name in ("spreads", "effects"):
        groups = []
        for key, rows in document[name].items():
            inner = ",\n      ".join(json.dumps(row) for row in rows)
            groups.append(f"    {json.dumps(key)}: [\n      {inner}\n    ]" if rows else f"    {json.dumps(key)}: []")
        body = ",\n".join(groups)
        lines.append(f"  {json.dumps(name)}: {{\n{body}\n  }}{',' if name == 'spreads' else ''}")
    return "\n".join([*lines, "}", ""])
