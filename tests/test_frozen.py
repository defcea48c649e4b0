"""Records: what the standard library's frozen dataclass gives, though compiled when first made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

import pytest

from sizer.frozen import NamedTuple, dataclass


@dataclass(frozen=True, slots=True)
class Base:
    """A record with a field that must be given."""

    name: str


@dataclass(frozen=True, slots=True)
class Card(Base):
    """A record of another: defaults, a factory, fields outside comparison, hash and print."""

    memory_bytes: int = 8
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)
    note: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a negative memory."""
        if self.memory_bytes < 0:
            raise ValueError("memory below zero")


class Pair(NamedTuple):
    """A named tuple with a default, a property and a way to make it."""

    count: int
    name: str = "x"

    @property
    def twice(self) -> int:
        """Two times the count."""
        return 2 * self.count

    @classmethod
    def one(cls) -> Pair:
        """A pair of one."""
        return cls(1)


@dataclass(frozen=True, eq=False)
class Named:
    """A record that is itself alone, with a place for what is computed later."""

    name: str


def test_values_come_by_place_by_name_and_by_default() -> None:
    """Fields are parameters in their order; each factory makes its own."""
    card, other = Card("a", 4, note="x"), Card(memory_bytes=4, name="a")
    assert (card.name, card.memory_bytes, card.note) == ("a", 4, "x")
    assert card.rates == {}
    assert card.rates is not other.rates
    assert [f.name for f in dataclasses.fields(card)] == ["name", "memory_bytes", "rates", "note"]
    assert dataclasses.asdict(card) == {"name": "a", "memory_bytes": 4, "rates": {}, "note": "x"}


def test_compared_and_hashed_by_their_own_fields() -> None:
    """A note is no part of equality, a mapping none of the hash; another class is never equal."""
    assert Card("a", note="x") == Card("a", note="y")
    assert hash(Card("a", 8, {"x": 1.0})) == hash(Card("a"))
    assert Card("a", 8, {"x": 1.0}) != Card("a")
    assert Base("a") != Card("a")
    assert Named("a") != Named("a")
    assert len({Base("a"), Base("a"), Base("b")}) == 2


def test_printed_and_matched() -> None:
    """The print has the fields that are to be shown; a pattern takes them in their order."""
    assert repr(Card("a")) == "Card(name='a', memory_bytes=8, rates={})"
    match Card("a", 3):
        case Card(name, memory_bytes):
            assert (name, memory_bytes) == ("a", 3)


@pytest.mark.parametrize("name", ["name", "other"])
def test_neither_assigned_nor_deleted(name: str) -> None:
    """A record stays what it was made as."""
    card: Any = Card("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(card, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        delattr(card, name)


def test_valid_from_birth() -> None:
    """What `__post_init__` refuses is refused by `replace` as well, and so is a word that is no field."""
    with pytest.raises(ValueError, match="below zero"):
        Card("a", -1)
    with pytest.raises(ValueError, match="below zero"):
        replace(Card("a"), memory_bytes=-1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Base()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        Base("a", size=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("made", [Card("a", 3, {"x": 1.0}, "n"), Base("b")])
def test_copied_and_pickled(made: Base) -> None:
    """Copies and what comes back from another process are equal to what went."""
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_a_record_that_changes_is_refused() -> None:
    """The decorator is for frozen records alone."""
    with pytest.raises(TypeError, match="frozen"):
        dataclass(frozen=False)


def test_a_named_tuple_is_that_of_typing() -> None:
    """Fields, defaults, methods, replacement, print and pickling; a field without a value is asked for."""
    assert Pair(2) == (2, "x") == tuple(Pair.one()._replace(count=2))
    assert (Pair._fields, Pair._field_defaults, Pair.__doc__) == (
        ("count", "name"), {"name": "x"}, "A named tuple with a default, a property and a way to make it.",
    )  # fmt: skip
    assert (Pair(2).twice, repr(Pair(2, "y"))) == (4, "Pair(count=2, name='y')")
    assert pickle.loads(pickle.dumps(Pair(3, "z"))) == copy.deepcopy(Pair(3, "z")) == Pair(3, "z")
    with pytest.raises(TypeError, match="count"):
        Pair()  # type: ignore[call-arg]
