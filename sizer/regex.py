"""Regular expressions: those compiled when first used, as all of a start's would take a thirtieth of it, and others'.

An expression from outside must not cost more than its length: Python's may try the ways to match one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

MOST_REPEATS = 4
"""Quantifiers of one pattern from outside: each may multiply the time of a match."""


class _Pattern:
    """Stands for a compiled expression; each method is the expression's own from its first use on."""

    def __init__(self, text: str, flags: int) -> None:
        self._made_of = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._made_of), name)
        setattr(self, name, found)
        return found


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` gives, made when it is first asked for."""
    return cast("re.Pattern[str]", _Pattern(text, flags))


_ONE_CHARACTER = pattern(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_GROUP_KIND = pattern(r"\(\?(?:P<\w+>|<?[=!]|[aiLmsux-]*:)")
_INNERMOST = pattern(r"\((?P<inside>[^()]*)\)(?P<repeated>[*+{]?)")
_REPEATS = pattern(r"[*+?{|]")


def outside_pattern(text: str) -> re.Pattern[str]:
    """An expression of a user or a file, compiled. Raises ValueError for what is none, or could match without end."""
    try:
        made = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    plain = _GROUP_KIND.sub("(", _ONE_CHARACTER.sub("x", text))
    if plain.count("*") + plain.count("+") > MOST_REPEATS or _repeats_repeats(plain):
        raise ValueError("it could match without end")
    return made


def _repeats_repeats(text: str) -> bool:
    """Whether a repeated group holds a repeat or a choice, however deep: each doubles the ways to match."""
    groups = True
    while groups:
        groups = False
        for found in _INNERMOST.finditer(text):
            groups = True
            if found["repeated"] and _REPEATS.search(found["inside"]):
                return True
        text = _INNERMOST.sub(lambda found: "x*" if _REPEATS.search(found[0]) else "x", text)
    return False


def sparing(value_of: Callable[[re.Match[str]], str], most: int) -> Callable[[re.Match[str]], str]:
    """What `sub` puts in for matches, no more than `most` characters in all; beyond them a match stays as it is.

    Values that name each other may double from one to the next.
    """
    left = most

    def put_in(found: re.Match[str]) -> str:
        nonlocal left
        value = value_of(found)
        left -= len(value)
        return value if left >= 0 else found[0]

    return put_in
