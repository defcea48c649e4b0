"""What rows near a case say of it, counted on paper."""

from __future__ import annotations

from math import exp, log

import pytest
from drawncases import asked

from sizer.speed import nearby
from sizer.speed.law import Amount
from sizer.speed.nearby import Likeness, Row, Rows, Traits, correction, lines_with, rows_of, traits, written
from sizer.tuning import tuned

SEEN = Traits("e b d", "q4_k", "4bit", "m", "F", False, "none 1", 2025, 20.0, -2.0, chip="d")
LIKE = Likeness(
    die=0.9, bits=0.7, kernel=0.5, family=0.6, model=0.3, moe=0.2, link=0.4, one=0.8, size=2.0, depth=4.0, years=3.0,
    tokens=5.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({}, 1.0), ({"kernel": "q5_k"}, 0.7), ({"kernel": "half", "bits": "float"}, 0.5), ({"bits": "float"}, 1.0),
        ({"model": "n"}, 0.6), ({"model": "n", "family": "G"}, 0.3), ({"family": "G"}, 1.0), ({"moe": True}, 0.2),
        ({"link": "pcie 2"}, 0.4), ({"link": "none 2"}, 1.0), ({"size": 21.0}, exp(-0.5)), ({"size": 17.0}, exp(-1.5)),
        ({"depth": 0.0}, exp(-0.5)), ({"year": 2027}, exp(-2 / 3)), ({"year": 2024}, exp(-1 / 3)),
        ({"tokens": 2.0}, 0.8 * exp(-0.4)), ({"chip": "c"}, 0.9), ({"chip": "c", "kernel": "q5_k"}, 0.9 * 0.7),
        ({"kernel": "q5_k", "model": "n", "moe": True, "link": "x", "size": 22.0, "depth": -6.0, "year": 2026},
         0.7 * 0.6 * 0.2 * 0.4 * exp(-1 - 1 - 1 / 3)),
    ],
)  # fmt: skip
def test_likeness_multiplies(changes: dict[str, object], weight: float) -> None:
    """A factor for each trait that differs, a decay over size, depth, years and tokens."""
    assert LIKE.between(SEEN, SEEN._replace(**changes)) == pytest.approx(weight)
    assert LIKE.between(SEEN._replace(**changes), SEEN) == pytest.approx(weight)


def test_rows_say_the_sum_of_their_weights_by_likeness() -> None:
    """Two rows alike in all and one of a bigger model; near are those of a likeness of a quarter or more."""
    size = tuned("like_size")
    bigger, far = (SEEN._replace(size=SEEN.size + apart) for apart in (size, 9 * size))
    found = correction(SEEN, Rows([Row(SEEN, 0.1), Row(SEEN, -0.3), Row(bigger, 0.5), Row(far, 2.0)]))
    assert found.log_factor == pytest.approx(0.1 - 0.3 + 0.5 * exp(-1) + 2.0 * exp(-9))
    assert (found.rows, found.nearest) == (3, 1.0)


def test_rows_are_read_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """By engine, device and quantity, and by model; the first and the last line too."""
    other = SEEN._replace(pair="e b z", model="long-name-7b", moe=True)
    rows = [Row(SEEN, 0.125, f"id-{number}", 12.5) for number in range(3)]
    text = written("decode", [*rows, Row(other, -0.5, "id-9", 1.5)]) + written("prefill", rows[:1])
    monkeypatch.setattr(nearby, "_text", lambda: "\n" + text)
    rows_of.cache_clear()
    try:
        assert rows_of("e b d", "decode") == tuple(rows)
        assert rows_of("e b d", "prefill") == tuple(rows[:1])
        assert rows_of("e b z", "decode") == (Row(other, -0.5, "id-9", 1.5),)
        assert rows_of("e b", "decode") == rows_of("e b z", "prefill") == ()
        assert lines_with("Long-Name-7B") == (("decode", Row(other, -0.5, "id-9", 1.5)),)
        assert [quantity for quantity, _ in lines_with("m")] == ["decode"] * 3 + ["prefill"]
        assert lines_with("name") == ()
    finally:
        rows_of.cache_clear()


def test_traits_of_a_case() -> None:
    """The logarithm of the active parameters, and of the cache's time over that of weights and experts, to a tenth."""
    case = asked()
    amounts = [Amount("weights", "memory", 3.0), Amount("experts", "memory", 1.0), Amount("cache", "memory", 2.0)]
    found = traits(case, amounts)
    assert found.size == pytest.approx(log(case.architecture.active_params), abs=0.05)
    assert found.depth == pytest.approx(log(0.5 + 0.01), abs=0.05)
    prompt = [Amount("prefill_compute", "compute", 4.0), Amount("prefill_attention", "compute", 1.0)]
    assert traits(case, prompt).depth == pytest.approx(log(0.25 + 0.01), abs=0.05)
    assert traits(case, prompt, 8).tokens == pytest.approx(log(8))
    assert (found.moe, found.link, found.kernel, found.bits) == (True, "none 1", "half", "float")
