"""The flags that engines take: rows of `data/engine_flags.csv`, found by any spelling.

A row is one flag: its spellings (environment variables and Modelfile parameters too), how its value is read
(`sizer.engine.flag_values`), which fields of `EngineOptions` it sets, its default and the versions that have it. A flag
that changes neither memory nor speed sets nothing. Only a command line or `--engine NAME FLAGS` reads this table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sizer.engine.flag_words import ANYTHING, Words, words_of
from sizer.engine.releases import rules, version_numbers
from sizer.errors import nearest
from sizer.frozen import dataclass
from sizer.tables import record_of
from sizer.units import GIB

PASSED = "passed"
"""The kind of a launcher's flag whose value are words of the engine behind it; `sets` names their dialects."""
SHORTEST_ABBREVIATION = 5
"""Of a long flag, dashes included: argparse takes any beginning that is one flag's alone."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a dialect (an engine's way of taking flags).

    `default` is the newest version's, then `;<VERSION:DEFAULT` for older ones (`default_with` tells how it may go by
    memory). `since` and `until` are the first version that has it and the first that has not, as closely as the sources
    read tell (vLLM's 0.7.3, 0.10.2, 0.22 and 0.33); empty where it is not known or does not matter. `denser` is the
    value of a cache of eight bits. `words` are those that its value is one of.
    """

    dialect: str
    spellings: tuple[str, ...]
    kind: str
    sets: tuple[str, ...]
    default: str
    denser: str
    since: str
    until: str
    source: str
    words: Words = ANYTHING

    @property
    def name(self) -> str:
        """The engine's own name for it, without dashes."""
        long = next((text for text in self.spellings if text.startswith("--")), self.spellings[0])
        return long.lstrip("-")

    @property
    def written(self) -> str:
        """How a command writes it: the first spelling, which is what most people type."""
        return self.spellings[0]

    def default_at(self, version: str = "") -> str:
        """Its default in a version, the newest where none is named."""
        newest, *older = self.default.split(";")
        numbers = version_numbers(version)
        earlier = [rule.strip().removeprefix("<").partition(":") for rule in older]
        held = [(version_numbers(before), value) for before, _, value in earlier]
        return min(((before, value) for before, value in held if numbers and numbers < before), default=((), newest))[1]

    def default_with(self, version: str, memory_bytes: int) -> str:
        """Its default where that goes by the devices' memory: `4096 23GiB:32768` is 32768 from 23 GiB on."""
        plain, *tiers = self.default_at(version).split() or [""]
        for tier in tiers:
            least, _, value = tier.partition("GiB:")
            plain = value if memory_bytes >= float(least) * GIB else plain
        return plain

    def lacks(self, version: str) -> str:
        """Why a version has not got it; empty where it has, or where no version is named."""
        numbers = version_numbers(version)
        if numbers and self.until and numbers >= version_numbers(self.until):
            return f"{self.written} is not there from {self.until} on"
        if numbers and self.since and numbers < version_numbers(self.since):
            return f"{self.written} is not there before {self.since}"
        return ""


@cache
def flags_of(dialect: str) -> tuple[Flag, ...]:
    """The flags of a dialect, in the table's order."""
    words = words_of(dialect)
    return tuple(
        record_of(
            Flag,
            row,
            spellings=tuple(row["flags"].split()),
            words=next((words[name] for name in row["flags"].split() if name in words), ANYTHING),
        )
        for row in rules("engine_flags.csv", "dialect").get(dialect, [])
    )


def squeezed(spelling: str) -> str:
    """A spelling for comparing: long flags may be written with dashes or underscores."""
    return spelling.replace("_", "-") if spelling.startswith("--") else spelling


@cache
def _by_spelling(dialects: tuple[str, ...]) -> dict[str, Flag]:
    """Every spelling of several dialects; the first dialect that has one decides."""
    found: dict[str, Flag] = {}
    for dialect in dialects:
        for flag in flags_of(dialect):
            for spelling in flag.spellings:
                found.setdefault(squeezed(spelling), flag)
    return found


@dataclass(frozen=True, slots=True)
class Match:
    """A flag found by a spelling; `negated` where it was written `--no-x`."""

    flag: Flag
    negated: bool = False


def find_flag(dialects: Sequence[str], spelling: str, abbreviates: bool = False) -> Match | None:
    """The flag of a spelling, or None.

    `--no-x` is the negation of a flag that can be switched off; where the parser takes them (`abbreviates`), an
    unambiguous beginning of a long flag is that flag.
    """
    table = _by_spelling(tuple(dialects))
    wanted = squeezed(spelling)
    if wanted in table:
        return Match(table[wanted])
    if wanted.startswith("--no-") and (own := table.get("--" + wanted[5:])) and own.kind in {"toggle", "not"}:
        return Match(own, negated=True)
    if abbreviates and wanted.startswith("--") and len(wanted) >= SHORTEST_ABBREVIATION:
        longer = {id(flag): flag for name, flag in table.items() if name.startswith(wanted)}
        if len(longer) == 1:
            return Match(next(iter(longer.values())))
    return None


def nearest_flag(dialects: Sequence[str], spelling: str) -> str:
    """The known spelling that is nearest to an unknown one; empty where none is near."""
    return next(iter(nearest(squeezed(spelling), _by_spelling(tuple(dialects)), 1)), "")


def passing_flag(dialects: Sequence[str]) -> Flag | None:
    """The flag by which a launcher hands words on to the engine that it starts; None where it has none."""
    return next((flag for dialect in dialects for flag in flags_of(dialect) if flag.kind == PASSED), None)


def reached(dialects: Sequence[str]) -> tuple[str, ...]:
    """The dialects with those that a launcher's passing flag reaches."""
    passing = passing_flag(dialects)
    return (*dialects, *(passing.sets if passing is not None else ()))


def flag_setting(dialects: Sequence[str], field: str, version: str = "") -> Flag | None:
    """The flag that sets a field by a value of its own, as a recipe writes it; None where the engine has none."""
    own = [flag for dialect in reached(dialects) for flag in flags_of(dialect) if field in flag.sets]
    return next((flag for flag in own if not flag.lacks(version)), None)
