"""The lists of numbers that `sizer bench` takes: lengths, depths, batches, users and rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sizer.cli.common import Quantity
from sizer.errors import UsageError
from sizer.serving.load import MOST_TOKENS
from sizer.units import parse_tokens, parse_whole
from sizer.workload import MOST_SEQUENCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.benchmark.load.requests import Lengths

Item = TypeVar("Item")
LONGEST_LIST = 64
"""Values of one option: more is a slip."""
MOST_RATE = 10_000.0
"""Requests a second: more is a slip."""


def _list_of(parse: Callable[[str], Item]) -> Callable[[str], tuple[Item, ...]]:
    """A comma-separated list, each read by `parse`."""

    def read(text: str) -> tuple[Item, ...]:
        items = text.split(",")
        if len(items) > LONGEST_LIST:
            raise UsageError(f"{text[:40]!r} lists {len(items)} numbers.", f"Give at most {LONGEST_LIST}.")
        return tuple(dict.fromkeys(parse(item) for item in items))

    return read


def _depth_tokens(text: str) -> int:
    tokens = parse_tokens(text)
    if not 0 <= tokens <= MOST_TOKENS:
        raise UsageError(f"{text!r} is no number of tokens to measure.", f"Give 0 to {MOST_TOKENS:,}.")
    return tokens


def _sequences(text: str) -> int:
    return _whole(text, MOST_SEQUENCES, "sequences")


def _users(text: str) -> int:
    from sizer.benchmark.load.asked import MOST_USERS

    return _whole(text, MOST_USERS, "users")


def _whole(text: str, most: int, what: str) -> int:
    number = parse_whole(text)
    if not 1 <= number <= most:
        raise UsageError(f"{text!r} is no number of {what}.", f"Give 1 to {most}.")
    return number


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST_RATE:
        raise UsageError(f"{text!r} is no number of requests a second.", "Give 2.5.")
    return rate


def _lengths(text: str) -> Lengths:
    from sizer.benchmark.load.requests import Lengths

    return Lengths.parse(text)


LENGTH_LIST = Quantity("tokens", _list_of(_lengths))
DEPTH_LIST = Quantity("tokens", _list_of(_depth_tokens))
BATCH_LIST = Quantity("sequences", _list_of(_sequences))
USER_LIST = Quantity("users", _list_of(_users))
RATE_LIST = Quantity("rate", _list_of(_rate))
