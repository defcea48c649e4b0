"""A row of a table is a record by the types of the record's fields."""

from __future__ import annotations

import pytest

from sizer.frozen import NamedTuple, dataclass
from sizer.tables import record_of


@dataclass(frozen=True, slots=True)
class Part:
    """A field of each type that a cell is read by."""

    name: str
    maker: str | None
    soldered: bool
    count: int
    spare: int | None
    rate: float
    limit: float | None
    kinds: tuple[str, ...]
    marks: frozenset[str]


class Pair(NamedTuple):
    """A record of the other kind, one of whose fields no cell tells alone."""

    name: str
    total: int


FULL = {
    "name": "a b", "maker": "c", "soldered": "yes", "count": "3", "spare": "4", "rate": "1.5", "limit": "2",
    "kinds": "x y", "marks": "y x",
}  # fmt: skip


def test_a_cell_is_read_by_the_type_of_its_field() -> None:
    """A name may hold a space, a list parts there; columns that are no fields are left."""
    expected = Part("a b", "c", True, 3, 4, 1.5, 2.0, ("x", "y"), frozenset({"x", "y"}))
    assert record_of(Part, {**FULL, "source": "read"}) == expected


def test_an_empty_cell_is_nothing_where_that_may_be() -> None:
    """No number is None or 0.0; a count has none to fall back to."""
    empty = dict.fromkeys(FULL, "")
    assert record_of(Part, {**empty, "count": "0"}) == Part("", None, False, 0, None, 0.0, None, (), frozenset())
    with pytest.raises(ValueError, match="invalid literal"):
        record_of(Part, empty)


def test_what_no_single_cell_tells_is_given() -> None:
    """A field may be told from elsewhere; one with neither a column nor that is a slip."""
    assert record_of(Pair, {"name": "a", "total": "no number"}, total=2) == Pair("a", 2)
    with pytest.raises(KeyError, match="total"):
        record_of(Pair, {"name": "a"})
