"""What is left out together: keys that tell least of each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.calibrate.heldout import SCHEMES, folds
from sizer.calibrate.observation import Observation

BASE = Observation("0", "decode", "s", "d", "m", "vllm", "nvidia-hbm", False, 1.0, (), {})


def rows_of(source: str, card: str, count: int) -> list[Observation]:
    """So many rows of a source that measured one card."""
    groups = {"engine device": f"engine device: vllm {card}", "engine": "engine: vllm"}
    return [replace(BASE, id=f"{source}-{n}", source=source, device=card, groups=groups) for n in range(count)]


ROWS = [
    *rows_of("one of the pair", "b70", 43),
    *rows_of("other of the pair", "b70", 36),
    *rows_of("alone", "h100", 80),
    *rows_of("small", "a100", 5),
    *rows_of("smaller", "p100", 4),
]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_two_sources_of_one_card_are_left_out_apart(count: int) -> None:
    """A source is judged by constants that know its card from the other source."""
    together = folds(ROWS, SCHEMES["source"], count)
    assert together
    assert not any({"one of the pair", "other of the pair"} <= names for names in together)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_every_key_is_in_one_fold(count: int) -> None:
    """The folds part the keys: none twice, none missing, no more folds than keys."""
    together = folds(ROWS, SCHEMES["source"], count)
    assert sorted(name for names in together for name in names) == sorted({row.source for row in ROWS})
    assert len(together) == min(count, 5)
    assert all(together)


def test_the_order_of_rows_changes_no_fold() -> None:
    """The same rows give the same folds, in whatever order they come."""
    assert folds(ROWS, SCHEMES["source"], 3) == folds(ROWS[::-1], SCHEMES["source"], 3)


def test_rows_that_share_nothing_fill_the_folds_evenly() -> None:
    """Without anything in common but being rows, a key goes to the fold that holds the fewest rows."""
    apart = [replace(BASE, id=f"{n}", source=f"s{n}", model=f"m{n}", groups={}) for n in range(12)]
    assert [len(names) for names in folds(apart, SCHEMES["source"], 4)] == [3, 3, 3, 3]


def test_divisions_leave_each_key_out_with_others() -> None:
    """Each division parts all keys anew, so that what is left out beside a key differs; the first goes by rows."""
    apart = [replace(BASE, id=f"{n}", source=f"s{n}", model=f"m{n}", groups={}) for n in range(24)]
    divided = [folds(apart, SCHEMES["source"], 4, division) for division in range(3)]
    assert divided[0] == folds(apart, SCHEMES["source"], 4)
    for together in divided:
        assert sorted(name for names in together for name in names) == sorted({row.source for row in apart})
    assert len({tuple(sorted(map(tuple, map(sorted, together)))) for together in divided}) == 3
