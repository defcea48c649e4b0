"""Expressions compiled at first use answer as compiled ones do."""

from __future__ import annotations

import re

import pytest

from sizer.regex import pattern


def test_it_answers_as_a_compiled_one() -> None:
    """Methods and attributes are the expression's own, flags included."""
    lazy, eager = pattern(r"(\d+) ?gib", re.IGNORECASE), re.compile(r"(\d+) ?gib", re.IGNORECASE)
    for _ in range(2):
        assert lazy.fullmatch("24 GiB")[1] == "24"  # type: ignore[index]
        assert lazy.sub("x", "a 8gib b") == eager.sub("x", "a 8gib b")
    assert (lazy.pattern, lazy.flags, lazy.groups) == (eager.pattern, eager.flags, eager.groups)


def test_a_broken_one_says_so_when_used() -> None:
    """The fault is re's own."""
    broken = pattern("(")
    with pytest.raises(re.error):
        broken.match("x")
