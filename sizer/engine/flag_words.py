"""The words that a flag's value is one of: rows of `data/flag_words.csv`, read in the engines' sources.

A row has the words of every version read, so an older version's are taken too. `>=1` stands for numbers from 1 on, a
word with a star for what matches it (`*.*`: a class by its module). Flags without a row may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from sizer.engine.releases import rules
from sizer.errors import UsageError, did_you_mean

AT_LEAST = ">="
MOST_SHOWN = 24
"""Words of a list that an error shows."""
NEWER = "A version newer than those read may take it: leave the flag out here."


@cache
def words_of(dialect: str) -> Mapping[str, tuple[str, ...]]:
    """The words by a flag's spelling, or by the place in a JSON flag (`--speculative-config.method`)."""
    return {row["flag"]: tuple(row["words"].split()) for row in rules("flag_words.csv", "dialect").get(dialect, [])}


def require_word(words: Sequence[str], text: str, spelled: str) -> None:
    """Raises UsageError for a value that no version read takes; the case of letters is left to the engine."""
    value = text.strip().lower()
    if not any(_is(word.lower(), value) for word in words):
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
