"""A name taken apart: the words, versions, dates and sizes that identify it."""

from __future__ import annotations

import re
from functools import lru_cache

from sizer.frozen import NamedTuple
from sizer.tables import read_rows

_MONTH = re.compile(r"(?<![\d.])(\d{1,2})-(?=20[2-9]\d(?!\d))")  # `12-2024`: a date, as `08-2024` is
_VERSION_BEFORE_SIZE = re.compile(r"([a-z]\d+(?:[._]\d+)?)_(?=\d+(?:\.\d+)?[bm](?![a-z0-9]))")  # `llama2_70b`
_DECIMAL_UNDERSCORE = re.compile(r"(?<=\d)_(?=\d)")
_PIECE = re.compile(
    r"(?P<size>\d+x\d+(?:\.\d+)?[bm]|\d+b\d(?![a-z0-9])|[ae]?\d+(?:\.\d+)?[bmt])(?![a-z0-9])"
    r"|(?P<context>\d{1,4}k)(?![a-z0-9])|(?P<experts>\d+e)(?![a-z0-9])"
    r"|(?P<word>[a-z]+)|(?P<number>\d+(?:\.\d+)*)"
)
_SEPARATOR = re.compile(r"[^a-z0-9.]+|\.(?!\d)|(?<!\d)\.")


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
    words: list[str] = []
    numbers: list[str] = []
    revisions: list[str] = []
    dates: set[str] = set()
    sizes: set[str] = set()
    contexts: set[str] = set()
    owned: list[tuple[str, str]] = []
    underlying, last = word_roles()["underlying"], ""
    lowered = _DECIMAL_UNDERSCORE.sub(".", _VERSION_BEFORE_SIZE.sub(r"\1-", name.lower()))
    lowered = re.sub(r"(?<=\d) (?=[bm]\b)", "", lowered).replace("c4ai", " ")
    lowered = _MONTH.sub(r"0\1-", lowered)
    for piece in _SEPARATOR.split(lowered):
        before = ""
        for match in _PIECE.finditer(piece):
            kind, part = match.lastgroup, match[0]
            if kind == "size":
                sizes.add(part)
            elif kind in ("context", "experts"):
                (contexts if kind == "context" else sizes).add(part)
            elif kind == "word":
                words.append(part)
                last = part
            elif "." not in part and (len(part) in (4, 6, 8) or part.startswith("0")):
                dates.add(part)
            else:
                part = re.sub(r"(?:\.0)+$", "", part)
                (revisions if before == "v" else numbers).append(part)
                owned += [(last, part)] if last in underlying and before != "v" else []
            before = part if kind == "word" else ""
    if revisions:  # `v3` is a version of the name: the letter identifies nothing
        words = [word for word in words if word != "v" or f"v{revisions[0]}" not in lowered]
    return Parts(
        tuple(words),
        tuple(numbers),
        tuple(revisions),
        frozenset(dates),
        frozenset(sizes),
        frozenset(contexts),
        tuple(owned),
    )
