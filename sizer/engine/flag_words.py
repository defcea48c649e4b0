"""The words that a flag's value is one of: rows of `data/flag_words.csv`, read in the engines' sources.

A row has the words of every version read, so an older version's are taken too. `>=1` stands for numbers from 1 on, a
word with a star for what matches it (`*.*`: a class by its module). Several words may stand in one value, between
commas. A row with `unless` leaves the flag free where that other flag is given: a plugin brings words of its own. Flags
without a row may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from sizer.engine.releases import rules
from sizer.errors import UsageError, did_you_mean
from sizer.frozen import NamedTuple

AT_LEAST = ">="
MOST_SHOWN = 24
"""Words of a list that an error shows."""
NEWER = "A version newer than those read may take it: leave the flag out here."


class Words(NamedTuple):
    """What a flag's value is one of in any version read; none: anything. `freed_by` is the other flag that lets it be
    anything where that is given."""

    allowed: tuple[str, ...] = ()
    freed_by: str = ""


ANYTHING = Words()


@cache
def words_of(dialect: str) -> Mapping[str, Words]:
    """The words by a flag's spelling, or by the place in a JSON flag (`--speculative-config.method`)."""
    rows = rules("flag_words.csv", "dialect").get(dialect, [])
    return {row["flag"]: Words(tuple(row["words"].split()), row["unless"]) for row in rows}


def require_word(words: Sequence[str], text: str, spelled: str) -> None:
    """Raises UsageError for a value that no version read takes; the case of letters is left to the engine."""
    value = text.strip().lower()
    if not all(any(_is(word.lower(), part.strip()) for word in words) for part in value.split(",")):
        if words[0].startswith(AT_LEAST):
            raise UsageError(f"{spelled}: {text!r:.80} is less than {words[0].removeprefix(AT_LEAST)}.")
        shown = ", ".join(words[:MOST_SHOWN]) + (" ..." if len(words) > MOST_SHOWN else "")
        raise UsageError(f"{spelled}: {text!r:.80} is not one of {shown}.", did_you_mean(value, words) or NEWER)


def _is(word: str, value: str) -> bool:
    if not word.startswith(AT_LEAST):
        return fnmatchcase(value, word)
    try:
        return int(value) >= int(word.removeprefix(AT_LEAST))
    except ValueError:
        return True  # that it is no number is said where it is read
