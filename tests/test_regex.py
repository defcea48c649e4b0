"""Expressions compiled at first use answer as compiled ones do; those of users and files are bounded."""

from __future__ import annotations

import re

import pytest

from sizer.regex import outside_pattern, pattern


def test_it_answers_as_a_compiled_one() -> None:
    """Methods and attributes are the expression's own, flags included."""
    lazy, eager = pattern(r"(\d+) ?gib", re.IGNORECASE), re.compile(r"(\d+) ?gib", re.IGNORECASE)
    for _ in range(2):
        assert lazy.fullmatch("24 GiB")[1] == "24"  # type: ignore[index]
        assert lazy.sub("x", "a 8gib b") == eager.sub("x", "a 8gib b")
    assert (lazy.pattern, lazy.flags, lazy.groups) == (eager.pattern, eager.flags, eager.groups)


def test_a_broken_one_says_so_when_used() -> None:
    """An expression that cannot be compiled raises re's own error, at its first use and not before."""
    broken = pattern("(")
    with pytest.raises(re.error):
        broken.match("x")


@pytest.mark.parametrize(
    "text",
    [
        r"blk\.(1[0-9]|2[0-9])\.ffn_.*_exps",
        r"\.ffn_(up|down)_(ch|)exps",
        "exps",
        r"[(*+]{2}x",
        r"(a|b)?c",
        "(?:ab)+",
        "(?P<n>ab)*",
        "",
    ],
)
def test_what_people_write_is_taken(text: str) -> None:
    """Choices, classes and repeats that stand by themselves match as Python's own."""
    assert outside_pattern(text).pattern == text


@pytest.mark.parametrize(
    "text", [r"(\w+)+!", "((a|aa))*x", "(((((.*)*)*)*)*)*x", "(?:x{1,9}){1,9}", ".*.+.*.+.*x", "(?:(a?)b)+"]
)
def test_what_could_match_without_end_is_refused(text: str) -> None:
    """Repeats of repeats and of choices, however deep, and long rows of them."""
    with pytest.raises(ValueError, match="without end"):
        outside_pattern(text)


@pytest.mark.parametrize("text", ["[", "(", "a{99999999999}", "(" * 5000 + ")" * 5000, "*"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Whatever Python's compiler raises, the caller hears one kind of error."""
    with pytest.raises(ValueError, match="no regular expression"):
        outside_pattern(text)
