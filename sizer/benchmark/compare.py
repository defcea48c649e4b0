"""Sets two saved benchmark files side by side: what differs by more than their own noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median, variance

from sizer.benchmark.saved import CASE, CELL, Saved
from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass

ERROR_RATE = 0.05
"""How often a table of equals may show any difference: shared among its lines by Holm's method."""

QUANTITIES = ("decode", "prefill")
LARGEST_LOG = 700.0
"""exp(709) is the largest that a float holds."""


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity of a cell in both files: medians in tokens/s, change as b/a - 1, its 95 % half-width as a fraction.

    `p` is the probability of as large a difference between equals; None where a file has a single run. `verdict` is
    `faster`, `slower`, `no difference` or `unknown`; `note` says what stands against it.
    """

    cell: str
    quantity: str
    a_tokens_per_s: float
    b_tokens_per_s: float
    a_runs: int
    b_runs: int
    change: float
    half_width: float | None
    p: float | None
    verdict: str
    note: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files side by side. `differs` holds the columns that are compared, with both values."""

    differs: Mapping[str, tuple[str, str]]
    lines: tuple[Line, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare(a: Sequence[Saved], b: Sequence[Saved]) -> Comparison:
    """Every cell that both have, judged; raises InvalidInputFile where they have none in common."""
    differs = _differing(a, b)
    same = [name for name in CASE if name not in differs and len({one.columns.get(name) for one in (*a, *b)}) > 1]
    keys = (*same, *CELL)  # a column that is the same in every row matches, and need not be named
    cells_a, cells_b = _cells(a, keys), _cells(b, keys)
    if not cells_a.keys() & cells_b.keys():  # a list's cells time one quantity, a single run both
        cells_a, cells_b = (_cells([part for one in side for part in _by_quantity(one)], keys) for side in (a, b))
    common = [key for key in cells_a if key in cells_b]
    if not common:
        raise InvalidInputFile("The two files have no cell in common.", "Measure the same model, prompt and batch.")
    found = [
        _line(dict(zip(keys, key, strict=True)), quantity, cells_a[key], cells_b[key])
        for key in common
        for quantity in QUANTITIES
        if all(any(one.runs.get(quantity) for one in cells[key]) for cells in (cells_a, cells_b))
    ]
    return Comparison(
        differs,
        tuple(judged(found)),
        tuple(_name(dict(zip(keys, key, strict=True))) for key in cells_a if key not in cells_b),
        tuple(_name(dict(zip(keys, key, strict=True))) for key in cells_b if key not in cells_a),
    )


def judged(lines: Sequence[Line]) -> list[Line]:
    """The lines with their verdicts: a difference is said where its p stands Holm's test among all lines."""
    order = sorted((line.p, index) for index, line in enumerate(lines) if line.p is not None)
    verdicts = ["unknown" if line.p is None else "no difference" for line in lines]
    for rank, (p, index) in enumerate(order):
        if p > ERROR_RATE / (len(order) - rank):
            break
        verdicts[index] = "faster" if lines[index].change > 0 else "slower"
    return [replace(line, verdict=verdict) for line, verdict in zip(lines, verdicts, strict=True)]


def two_sided_p(t: float, freedom: float) -> float:
    """Student's t: the probability of a value at least as far from 0. With x = sqrt(n) tan(angle) the density is
    cos(angle)^(n-1), which is integrated by Simpson's rule."""
    steps = 200
    start = math.atan(abs(t) / math.sqrt(freedom))
    width = (math.pi / 2 - start) / steps
    weights = (1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1))
    tail = sum(w * max(0.0, math.cos(start + i * width)) ** (freedom - 1) for i, w in enumerate(weights)) * width / 3
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    return float(min(1.0, tail / whole))


def _t_bound(freedom: float) -> float:
    """The t that equals exceed once in twenty times, by bisection."""
    low, high = 0.0, 1e4
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > ERROR_RATE else (low, middle)
    return high


@dataclass(frozen=True, slots=True)
class _Sample:
    """Logarithms of tokens/s, and how many loads they come from: runs of one load share that load's luck."""

    logs: tuple[float, ...]
    loads: int

    @property
    def error(self) -> float:
        """The squared standard error of the mean, were the loads to be made again."""
        return variance(self.logs) / self.loads


def _sample(results: Iterable[Saved], quantity: str) -> _Sample:
    """Medians of several loads; of one load its runs, whose spread stands for that between loads."""
    runs = [one.runs[quantity] for one in results if one.runs.get(quantity)]
    values = runs[0] if len(runs) == 1 else tuple(median(one) for one in runs)
    return _Sample(tuple(math.log(value) for value in values), len(runs))


def _line(cell: Mapping[str, str], quantity: str, a: Sequence[Saved], b: Sequence[Saved]) -> Line:
    """Welch's test on the logarithms, so that change and noise are ratios."""
    left, right = _sample(a, quantity), _sample(b, quantity)
    middle_a, middle_b = (math.exp(median(sample.logs)) for sample in (left, right))
    change = math.exp(fmean(right.logs) - fmean(left.logs)) - 1
    p = half = None
    if len(left.logs) > 1 and len(right.logs) > 1:
        difference = fmean(right.logs) - fmean(left.logs)
        errors = (left.error, right.error)
        freedom = _freedom(errors, (len(left.logs) - 1, len(right.logs) - 1))
        error = math.sqrt(sum(errors))
        p = two_sided_p(difference / error, freedom) if error else (1.0 if not difference else 0.0)
        half = math.expm1(min(LARGEST_LOG, _t_bound(freedom) * error))
    warned = sorted(frozenset().union(*(one.warned for one in (*a, *b))))
    notes = [f"warned: {', '.join(warned)}"] if warned else []
    if p is None:
        notes.insert(0, "a single run has no spread: save several, or compare --json files")
    return Line(
        _name(cell), quantity, middle_a, middle_b, len(left.logs), len(right.logs), change, half, p, "",
        "; ".join(notes),
    )  # fmt: skip


def _freedom(errors: tuple[float, float], freedoms: tuple[int, int]) -> float:
    """Welch's degrees of freedom."""
    below = sum(error**2 / freedom for error, freedom in zip(errors, freedoms, strict=True))
    return max(1.0, sum(errors) ** 2 / below) if below else float(sum(freedoms))


def _differing(a: Sequence[Saved], b: Sequence[Saved]) -> dict[str, tuple[str, str]]:
    found = {}
    for name in CASE:
        values = [{one.columns.get(name, "") for one in side} for side in (a, b)]
        if all(len(side) == 1 for side in values) and values[0] != values[1]:
            found[name] = (values[0].pop(), values[1].pop())
    return found


def _by_quantity(one: Saved) -> list[Saved]:
    """A result as the cells of a list: its prompt behind what the cache held, its decode behind what it holds then.

    A run of both read its prompt with an empty cache; the context of a list's cell is the depth of either.
    """
    told = {name: one.columns.get(name, "") for name in ("prompt_tokens", "context_tokens", "output_tokens")}
    prompt, context, output = ("" if text == "0" else text for text in told.values())
    if one.columns.get("metric") != "decode":
        return [one]
    changed = {
        "prefill": {"prompt_tokens": prompt, "context_tokens": "" if output else context, "output_tokens": ""},
        "decode": {"prompt_tokens": "", "context_tokens": context, "output_tokens": output},
    }
    return [
        Saved({**one.columns, **changed[quantity]}, {quantity: runs}, one.warned)
        for quantity, runs in one.runs.items()
        if runs
    ]


def _cells(results: Sequence[Saved], keys: Sequence[str]) -> dict[tuple[str, ...], list[Saved]]:
    cells: dict[tuple[str, ...], list[Saved]] = {}
    for one in results:
        cells.setdefault(tuple(one.columns.get(name, "") for name in keys), []).append(one)
    return cells


def _name(cell: Mapping[str, str]) -> str:
    case = [cell[name] for name in CASE if cell.get(name)]
    parts = ((name, cell[f"{name}_tokens"]) for name in ("prompt", "output"))
    tokens = ", ".join(f"{name} {count}" for name, count in parts if count not in ("", "0"))
    depth = cell["context_tokens"]
    own = cell["prompt_tokens"] if cell["output_tokens"] else ""  # a prompt alone has only what lies before it
    deep = f", depth {depth}" if depth not in ("", "0", own) else ""
    several = cell["batch"] if cell["metric"] == "load" else f"batch {cell['batch']}"
    batch = f", {several}" if cell["batch"] not in ("", "1") else ""
    return " ".join([*case, tokens + deep + batch])
