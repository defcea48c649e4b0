"""What rows like this one showed: how much faster or slower than the law the same engine runs on the same device.

The law knows kernels and devices by classes; a pair of an engine and a device that was measured often errs alike from
row to row. So its own rows speak for the case: a Gaussian process over how alike cases are (kernel, model, link, year,
size, depth, tokens a step). Its mean is the sum of likeness times a row's weight, and the weights are solved by the
calibration (`calibrate.likeness`): rows that repeat each other share one, and unlike rows hardly move a case. The rows
lie in `data/nearby.tsv`; a pair without rows is left to the law.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from math import exp, log

from sizer.device.kinds import chip_of, die_of
from sizer.frozen import NamedTuple, dataclass
from sizer.speed.case import SpeedCase, standing
from sizer.speed.law import Amount
from sizer.speed.records import NONE, Correction
from sizer.speed.splits import parallelism
from sizer.tables import is_there, read_bytes
from sizer.tuning import tuned

NEARBY_FILE = "nearby.tsv"
MAIN_TERMS = frozenset({"weights", "experts", "prefill_compute", "prefill_experts"})
SIDE_TERMS = frozenset({"cache", "prefill_attention"})
"""What grows with the depth of the cache, of a step and of a prompt; the others are what it stands beside."""
NO_DEPTH = 0.01
"""The depth of an empty cache: one per cent of the weights, so that its logarithm is finite."""
NEAR = 0.25
"""The likeness from which on a row lies near a case."""


class Traits(NamedTuple):
    """What makes rows alike.

    `pair` tells the engine, its backend and the die, `chip` the die as this device has it (all of its units or fewer,
    another memory). `size` is the logarithm of the active parameters, `depth` that of the cache's time over the
    weights' (of the attention's over the products' for a prompt) at nominal rates, both to a tenth; `tokens` that of
    the tokens of a step, or of the prompts read together. `link` tells what the devices exchange over, and their
    number: where each has whole layers, nothing that would tell them from one device.
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
    tokens: float = 0.0
    chip: str = ""

    @property
    def by_layers(self) -> bool:
        """Whether one device, or one after the other, works on each layer."""
        return self.link.startswith("none ")


class Row(NamedTuple):
    """A measured row: its traits, what it adds to the logarithm of measured over predicted speed of a case that is
    alike in all, and its name."""

    traits: Traits
    weight: float
    id: str = ""
    tokens_per_s: float = 0.0


def cache_beside(amounts: Iterable[Amount]) -> float:
    """What the cache takes over what the weights take (attention over products for a prompt), at nominal rates."""
    main_s = side_s = 0.0
    for amount in amounts:
        if amount.term in MAIN_TERMS:
            main_s += amount.nominal_s
        elif amount.term in SIDE_TERMS:
            side_s += amount.nominal_s
    return side_s / (main_s or 1e-12)


def traits(case: SpeedCase, amounts: Iterable[Amount], tokens: int = 1) -> Traits:
    """The traits of a case whose step has these amounts, and so many tokens."""
    cached = round(log(cache_beside(amounts) + NO_DEPTH), 1)
    return _traits_of_any_work(case)._replace(depth=cached, tokens=log(tokens))


@standing
def _traits_of_any_work(case: SpeedCase) -> Traits:
    """The traits that no depth and no number of tokens moves; boards cut from one die are a pair's same device."""
    found = case.groups
    architecture = case.architecture
    split = parallelism(case)
    by_layers = split is None or split.whole_layers
    chip, die = chip_of(case.device.key), die_of(case.device.key)
    return Traits(
        pair=f"{case.engine.name} {case.backend} {die.name if die else chip}",
        kernel=found["kernel"].partition(": ")[2],
        bits=found["bits"].partition(": ")[2],
        model=architecture.model_id.rpartition("/")[2].lower(),
        family=architecture.architecture or "unknown",
        moe=architecture.experts is not None,
        link=f"{'none' if by_layers else found['link'].partition(': ')[2]} {len(case.devices)}",
        year=int(found["era"].rpartition(" ")[2]),
        size=round(log(max(1, architecture.active_params)), 1),
        depth=0.0,
        chip=chip,
    )


class Likeness(NamedTuple):
    """What a difference in each trait leaves of a row's say: a factor, or the distance that leaves 1 / e of it.

    `one` is what is left between one token a step and several, whose products take other kernels; `die` between two
    boards of one die.
    """

    die: float
    bits: float
    kernel: float
    family: float
    model: float
    moe: float
    link: float
    one: float
    size: float
    depth: float
    years: float
    tokens: float

    def between(self, asked: Traits, seen: Traits) -> float:
        """How much a row tells of a case of the same engine and die: 1 for one that is the same in all."""
        return self.alike(asked, (Row(seen, 1.0),)).likes(asked.depth)[0]

    def alike(self, asked: Traits, rows: Iterable[Row]) -> Alike:
        """What each of many rows tells of cases like this one, whatever their depth. A sweep asks a hundred for each of
        its own, so no name is looked up twice."""
        die, same_bits, other_kernel, same_family, other_model, experts, linked, one, sizes, depths, years, several = (
            self
        )
        _, kernel, bits, model, family, moe, link, year, size, _, tokens, chip = asked
        by_layers, alone = asked.by_layers, tokens == 0
        found = []
        for seen, weight, *_ in rows:
            (
                _, its_kernel, its_bits, its_model, its_family, its_moe, its_link, its_year, its_size, its_depth,
                its_tokens, its_chip,
            ) = seen  # fmt: skip
            share = 1.0 if chip == its_chip else die
            if kernel != its_kernel:
                share *= same_bits if bits == its_bits else other_kernel
            if model != its_model:
                share *= same_family if family == its_family else other_model
            if moe != its_moe:
                share *= experts
            if link != its_link and not (by_layers and seen.by_layers):
                share *= linked
            if alone != (its_tokens == 0):
                share *= one
            later = abs(year - its_year) / years + abs(tokens - its_tokens) / several
            found.append((share, abs(size - its_size) / sizes, later, its_depth, weight))
        return Alike(tuple(found), depths)


@dataclass(frozen=True, eq=False)
class Alike:
    """How alike rows are to cases that differ in depth alone: of each row the share that its unlike traits leave, how
    far it lies in size, and in year and tokens, its depth and its weight; `depths` is the distance in depth that leaves
    1 / e."""

    of_each: tuple[tuple[float, float, float, float, float], ...]
    depths: float

    def likes(self, depth: float) -> list[float]:
        """The likeness of each row to the case of this depth."""
        depths = self.depths
        return [share * exp(-(near + abs(depth - its) / depths + later)) for share, near, later, its, _ in self.of_each]

    def said_by_depth(self) -> Iterator[tuple[float, float]]:
        """The depth of each row, and what it says of a case of that depth."""
        for share, near, later, depth, weight in self.of_each:
            yield depth, weight * (share * exp(-(near + later)))


class Rows(tuple[Row, ...]):
    """Measured rows of an engine on the devices of a die, and how alike they are to what was asked last.

    A row without weight was not believed: it is not `heard`.
    """

    @cached_property
    def heard(self) -> tuple[Row, ...]:
        """Those that were believed."""
        return tuple(row for row in self if row.weight)

    @cached_property
    def _asked(self) -> dict[tuple[object, ...], Alike]:
        return {}

    def alike(self, asked: Traits) -> Alike:
        """How alike those heard are to cases of these traits, whatever their depth."""
        like, kept = likeness(), self._asked
        case = (like, asked[:DEPTH_AT], asked[DEPTH_AT + 1 :])
        if case not in kept:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            kept[case] = like.alike(asked, self.heard)
        return kept[case]


DEPTH_AT = Traits._fields.index("depth")
MOST_KEPT = 256
"""Cases whose likeness is kept: a hundred rows of four numbers each."""


def likeness() -> Likeness:
    """The likeness that `data/tuning.csv` tells."""
    return Likeness(*(tuned(f"like_{name}") for name in Likeness._fields))


def correction(asked: Traits, rows: Rows) -> Correction:
    """What rows of the same engine and die say of a case: the sum of their weights by likeness."""
    if not rows.heard:
        return NONE
    likes = rows.alike(asked).likes(asked.depth)
    said = sum(like * row.weight for like, row in zip(likes, rows.heard, strict=True))
    own = [like for like, row in zip(likes, rows.heard, strict=True) if row.traits.chip == asked.chip]
    return Correction(said, sum(like >= NEAR for like in likes), max(own, default=0.0))


def written(quantity: str, rows: Iterable[Row]) -> str:
    """Rows as the lines of the file, sorted by engine and die."""
    lines = []
    for row in rows:
        seen = row.traits
        cells = [
            seen.pair, quantity, seen.chip, seen.kernel, seen.bits, seen.model, seen.family, str(int(seen.moe)),
            seen.link, str(seen.year), f"{seen.size:.2f}", f"{seen.depth:.2f}", f"{seen.tokens:.2f}",
            f"{row.weight:.4g}", row.id, f"{row.tokens_per_s:.5g}",
        ]  # fmt: skip
        lines.append("\t".join(cells))
    return "".join(line + "\n" for line in sorted(lines))


@cache
def _text() -> str:
    return "\n" + read_bytes(NEARBY_FILE).decode() if is_there(NEARBY_FILE) else ""


@cache
def rows_of(pair: str, quantity: str) -> Rows:
    """The file's rows of an engine on the devices of a die."""
    text, start = _text(), f"\n{pair}\t{quantity}\t"
    found = []
    at = text.find(start)
    while at >= 0:
        end = text.find("\n", at + 1)
        found.append(_row(text[at + 1 : end]))
        at = end if text.startswith(start, end) else -1
    return Rows(found)


def _row(line: str) -> Row:
    (
        pair, _, chip, kernel, bits, model, family, moe, link, year, size, depth, tokens, weight, name, rate,
    ) = line.split("\t")  # fmt: skip
    seen = Traits(
        pair, kernel, bits, model, family, moe == "1", link, int(year), float(size), float(depth), float(tokens), chip
    )
    return Row(seen, float(weight), name, float(rate))


def lines_with(model: str, chip: str = "") -> tuple[tuple[str, Row], ...]:
    """Quantity and row of every line of a model, whatever ran it; of one chip alone where it is named."""
    text, wanted = _text(), f"\t{model.lower()}\t"
    found = []
    at = text.find(wanted)
    while at >= 0:
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        line = text[start:end]
        _, quantity, its_chip, _ = line.split("\t", 3)
        if chip in {"", its_chip}:
            found.append((quantity, _row(line)))
        at = text.find(wanted, end)
    return tuple(found)
