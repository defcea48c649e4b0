"""What rows like this one showed: how much faster or slower than the law the same engine runs on the same device.

The law knows kernels and devices by classes; a pair of an engine and a device that was measured often errs alike from
row to row. So its own rows, each with the logarithm of measured over predicted speed, speak for the case: weighted by
how alike they are (kernel, model, depth, size, year), and shrunk, so that few or unlike rows hardly move it. The rows
lie in `data/nearby.tsv`, written by the calibration; a pair without rows is left to the law.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from math import exp, log
from typing import NamedTuple

from sizer.speed.case import SpeedCase, groups
from sizer.speed.law import Amount
from sizer.speed.records import NONE, Correction
from sizer.tables import data_path, read_rows
from sizer.tuning import tuned

NEARBY_FILE = "nearby.tsv"
WEIGHT_TERMS = frozenset({"weights", "experts"})
PROMPT_TERMS = frozenset({"prefill_compute", "prefill_experts"})
NO_DEPTH = 0.01


class Traits(NamedTuple):
    """What makes rows alike.

    `size` is the logarithm of the active weights' bytes, `depth` that of the cache's time over the weights' (of the
    attention's over the products' for a prompt), both at nominal rates.
    """

    pair: str
    kernel: str
    bits: str
    model: str
    family: str
    moe: bool
    link: str
    year: int
    size: float
    depth: float


class Row(NamedTuple):
    """A measured row: its traits, the logarithm of measured over predicted speed, and where it comes from."""

    traits: Traits
    log_ratio: float
    source: str
    id: str = ""
    tokens_per_s: float = 0.0


@cache
def _chips() -> dict[str, str]:
    return {row["key"]: row["chip"] for row in read_rows("same_chips.csv")}


def chip_of(key: str) -> str:
    """The device whose rows speak for this one too: the same chip on another board (`data/same_chips.csv`)."""
    return _chips().get(key, key)


def traits(case: SpeedCase, amounts: Iterable[Amount]) -> Traits:
    """The traits of a case whose step has these amounts."""
    found = groups(case)
    terms: dict[str, float] = defaultdict(float)
    for amount in amounts:
        terms[amount.term] += amount.nominal_s
    main = sum(terms[name] for name in (*WEIGHT_TERMS, *PROMPT_TERMS)) or 1e-12
    side = terms["cache"] + terms["prefill_attention"]
    architecture = case.architecture
    return Traits(
        pair=f"{case.engine.name} {case.backend} {chip_of(case.device.key)}",
        kernel=found["kernel"].partition(": ")[2],
        bits=found["bits"].partition(": ")[2],
        model=architecture.model_id.rpartition("/")[2].lower(),
        family=architecture.architecture or "unknown",
        moe=architecture.experts is not None,
        link=f"{found['link'].partition(': ')[2]} {len(case.devices)}",
        year=int(found["era"].rpartition(" ")[2]),
        size=log(max(1.0, case.stored.weights_bytes * architecture.active_params / max(1, architecture.total_params))),
        depth=log(side / main + NO_DEPTH),
    )


class Likeness(NamedTuple):
    """What a difference in each trait leaves of a row's weight: a factor, or the width of a bell."""

    bits: float
    kernel: float
    family: float
    model: float
    moe: float
    link: float
    size: float
    depth: float
    years: float

    def between(self, asked: Traits, seen: Traits) -> float:
        """How much a row counts for a case of the same engine and device: 1 for one that is the same in all."""
        weight = 1.0
        if asked.kernel != seen.kernel:
            weight = self.bits if asked.bits == seen.bits else self.kernel
        if asked.model != seen.model:
            weight *= self.family if asked.family == seen.family else self.model
        if asked.moe != seen.moe:
            weight *= self.moe
        if asked.link != seen.link:
            weight *= self.link
        apart = ((asked.size - seen.size) / self.size) ** 2 + ((asked.depth - seen.depth) / self.depth) ** 2
        return weight * exp(-0.5 * apart - abs(asked.year - seen.year) / self.years)


def correction(asked: Traits, rows: Sequence[Row]) -> Correction:
    """What rows of the same engine and device say of a case: their shrunken mean, weighted by likeness.

    Rows of one source repeat each other: n of them count as a power of n. The farthest row counts as one at a bound.
    """
    if not rows:
        return NONE
    crowds = Counter(row.source for row in rows)
    power, bound = tuned("like_crowd"), tuned("like_bound")
    like_of = Likeness(*(tuned(f"like_{name}") for name in Likeness._fields))
    total = weights = 0.0
    near = 0
    for row in rows:
        like = like_of.between(asked, row.traits)
        near += like >= 0.25
        weight = like * crowds[row.source] ** -power
        total += weight * min(bound, max(-bound, row.log_ratio))
        weights += weight
    return Correction(tuned("like_share") * total / (weights + tuned("like_shrink")), near)


def written(quantity: str, rows: Iterable[Row]) -> str:
    """Rows as the lines of the file, sorted by engine and device."""
    lines = []
    for row in rows:
        seen = row.traits
        cells = [
            seen.pair, quantity, seen.kernel, seen.bits, seen.model, seen.family, str(int(seen.moe)), seen.link,
            str(seen.year), f"{seen.size:.2f}", f"{seen.depth:.2f}", f"{row.log_ratio:.3f}", row.source, row.id,
            f"{row.tokens_per_s:.5g}",
        ]  # fmt: skip
        lines.append("\t".join(cells))
    return "".join(line + "\n" for line in sorted(lines))


@cache
def _text() -> str:
    path = data_path(NEARBY_FILE)
    return "\n" + path.read_text(encoding="utf-8") if path.is_file() else ""


@cache
def rows_of(pair: str, quantity: str) -> tuple[Row, ...]:
    """The file's rows of an engine on a device."""
    text, start = _text(), f"\n{pair}\t{quantity}\t"
    found = []
    at = text.find(start)
    while at >= 0:
        end = text.find("\n", at + 1)
        found.append(_row(text[at + 1 : end]))
        at = end if text.startswith(start, end) else -1
    return tuple(found)


def _row(line: str) -> Row:
    pair, _, kernel, bits, model, family, moe, link, year, size, depth, ratio, source, name, rate = line.split("\t")
    seen = Traits(pair, kernel, bits, model, family, moe == "1", link, int(year), float(size), float(depth))
    return Row(seen, float(ratio), source, name, float(rate))


def lines_with(model: str) -> tuple[tuple[str, Row], ...]:
    """Quantity and row of every line of a model, whatever ran it."""
    text, wanted = _text(), f"\t{model.lower()}\t"
    found = []
    at = text.find(wanted)
    while at >= 0:
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        line = text[start:end]
        found.append((line.split("\t", 2)[1], _row(line)))
        at = text.find(wanted, end)
    return tuple(found)
