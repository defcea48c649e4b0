"""A name taken apart: the words, versions, dates and sizes that identify it."""

from __future__ import annotations

import re
from functools import lru_cache

from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import read_rows

_MONTH = pattern(r"(?<![\d.])(\d{1,2})-(?=20[2-9]\d(?!\d))")  # `12-2024`: a date, as `08-2024` is
_VERSION_BEFORE_SIZE = pattern(r"([a-z]\d+(?:[._]\d+)?)_(?=\d+(?:\.\d+)?[bm](?![a-z0-9]))")  # `llama2_70b`
_DECIMAL_UNDERSCORE = pattern(r"(?<=\d)_(?=\d)")
_PIECE = pattern(
    r"(?P<size>\d+x\d+(?:\.\d+)?[bm]|\d+b\d(?![a-z0-9])|[ae]?\d+(?:\.\d+)?[bmt])(?![a-z0-9])"
    r"|(?P<context>\d{1,4}k)(?![a-z0-9])|(?P<experts>\d+e)(?![a-z0-9])"
    r"|(?P<word>[a-z]+)|(?P<number>\d+(?:\.\d+)*)"
)
_SEPARATOR = pattern(r"[^a-z0-9.]+|\.(?!\d)|(?<!\d)\.")


class Parts(NamedTuple):
    """A name taken apart: identifying words in order, versions, dates (four digits, or a leading nought), sizes.

    `owned` are the versions that stand behind the name of what a model was built on: the 3 of `dolphin-2.9-llama3`.
    """

    words: tuple[str, ...]
    numbers: tuple[str, ...]
    revisions: tuple[str, ...]
    dates: frozenset[str]
    sizes: frozenset[str]
    contexts: frozenset[str]
    owned: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=1)
def word_roles() -> dict[str, tuple[str, ...]]:
    """The words that play a part in names, by the part (`data/name_words.csv`)."""
    return {row["role"]: tuple(row["words"].split()) for row in read_rows("name_words.csv")}


@lru_cache(maxsize=4096)
def parts_of(name: str) -> Parts:
    """A name's parts, in lower case; what separates them identifies nothing."""
    found = _Found()
    tidied = _tidied(name)
    for piece in _SEPARATOR.split(tidied):
        before = ""
        for match in _PIECE.finditer(piece):
            kind = match.lastgroup or ""
            found.take(kind, match[0], before)
            before = match[0] if kind == "word" else ""
    words = found.words
    if found.revisions:  # `v3` is a version of the name: the letter identifies nothing
        words = [word for word in words if word != "v" or f"v{found.revisions[0]}" not in tidied]
    return Parts(
        tuple(words),
        tuple(found.numbers),
        tuple(found.revisions),
        frozenset(found.dates),
        frozenset(found.sizes),
        frozenset(found.contexts),
        tuple(found.owned),
    )


def _tidied(name: str) -> str:
    """The name with its figures written one way: `7 b` as `7b`, `2_5` as `2.5`, a month with two digits."""
    tidied = _DECIMAL_UNDERSCORE.sub(".", _VERSION_BEFORE_SIZE.sub(r"\1-", name.lower()))
    tidied = re.sub(r"(?<=\d) (?=[bm]\b)", "", tidied).replace("c4ai", " ")
    return _MONTH.sub(r"0\1-", tidied)


class _Found:
    """The parts of a name as they come."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.numbers: list[str] = []
        self.revisions: list[str] = []
        self.dates: set[str] = set()
        self.sizes: set[str] = set()
        self.contexts: set[str] = set()
        self.owned: list[tuple[str, str]] = []

    def take(self, kind: str, part: str, before: str) -> None:
        """One part of a kind of `_PIECE`; `before` is the word that it is glued to."""
        if kind in ("size", "experts"):
            self.sizes.add(part)
        elif kind == "context":
            self.contexts.add(part)
        elif kind == "word":
            self.words.append(part)
        elif "." not in part and (len(part) in (4, 6, 8) or part.startswith("0")):
            self.dates.add(part)
        else:
            self._version(re.sub(r"(?:\.0)+$", "", part), before)

    def _version(self, number: str, before: str) -> None:
        if before == "v":
            self.revisions.append(number)
            return
        self.numbers.append(number)
        last = self.words[-1] if self.words else ""
        if last in word_roles()["underlying"]:
            self.owned.append((last, number))
