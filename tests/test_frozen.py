"""Records: what the standard library's frozen dataclass gives, though compiled when first made."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

import pytest

from sizer.frozen import FEW, NamedTuple, dataclass


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


@pytest.mark.parametrize("many", [1, FEW - 1, FEW, FEW + 1, 3 * FEW])
def test_the_first_record_is_made_as_the_hundredth(many: int) -> None:
    """Before and after a class's constructor is compiled, records and tuples are equal and the same words are wrong."""

    @dataclass(frozen=True, slots=True)
    class Memory:
        """A record of its own for each number."""

        name: str
        sizes: list[int] = field(default_factory=list)
        count: int = 1

        def __post_init__(self) -> None:
            """Refuse no devices."""
            if self.count < 1:
                raise ValueError("no devices")

    class Size(NamedTuple):
        """A tuple of its own for each number."""

        count: int
        unit: str = "GiB"

    made = [Memory("a", count=number) for number in range(1, many + 1)]
    assert [(one.name, one.sizes, one.count) for one in made] == [("a", [], n) for n in range(1, many + 1)]
    assert len({id(one.sizes) for one in made}) == many
    assert [Size(number, unit="GB") for number in range(many)] == [(number, "GB") for number in range(many)]
    assert (Size(unit="B", count=3), Size(4)) == ((3, "B"), (4, "GiB"))
    with pytest.raises(ValueError, match="no devices"):
        Memory("a", count=0)
    for wrong, said in (
        (Memory, "missing 1 required positional argument: 'name'"),
        (lambda: Memory("a", name="b"), "multiple values for argument 'name'"),
        (lambda: Memory("a", [], 1, 2), "takes from 2 to 4 positional arguments but 5 were given"),
        (lambda: Size(1, size=2), "unexpected keyword argument 'size'"),
        (lambda: Size(1, count=2), "multiple values for argument 'count'"),
        (lambda: Size(1, "B", 3), "takes from 2 to 3 positional arguments but 4 were given"),
    ):
        with pytest.raises(TypeError, match=said):
            wrong()
    assert Memory("a", count=2) == replace(made[0], count=2)
    assert Size(1)._asdict() == {"count": 1, "unit": "GiB"}
    with pytest.raises(ValueError, match="size"):
        Size(1)._replace(size=2)
