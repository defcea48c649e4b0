"""Intervals counted on paper: ranks of conformal bounds, widths by groups, folds that do not judge themselves."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, exp, log

import pytest

from sizer.calibrate.heldout import Residual
from sizer.calibrate.intervals import (
    ENOUGH_TO_STRETCH,
    FAR,
    LEAST_BOUND,
    TOLD_FROM,
    Distances,
    Judged,
    _held,
    _holding,
    conformal_bounds,
    groups_of,
    held_in_bounds,
    judged,
    stretch_by_engine,
    widths,
)  # fmt: skip
from sizer.calibrate.observation import Observation
from sizer.speed.predict import OTHER_ENGINES
from sizer.speed.widths import WIDEST
from sizer.tuning import tuned

BASE = Observation(
    "0",
    "decode",
    "s",
    "d",
    "m",
    "vllm",
    "nvidia-hbm",
    False,
    1.0,
    (),
    {"bits": "bits: 4bit", "backend": "backend: vllm cuda", "era": "era: vllm 2026"},
)
SHRINK = tuned("width_shrink")


def residual(name: str, ratio: float, fold: int = 0, engine: str = "vllm") -> Residual:
    """A held-out row that lies so far off."""
    return Residual(replace(BASE, id=name, engine=engine), ratio, "engine", fold)


@pytest.mark.parametrize(
    ("count", "share", "low", "high"),
    [
        (1, 0.9, 0, 0),
        (5, 0.9, 0, 4),
        (19, 0.9, 0, 18),
        (20, 0.9, 0, 19),
        (39, 0.9, 1, 37),
        (50, 0.9, 1, 48),
        (100, 0.9, 4, 95),
        (7, 0.5, 1, 5),
        (3, 0.5, 0, 2),
    ],
)
def test_conformal_ranks(count: int, share: float, low: int, high: int) -> None:
    """Of n rows the k-th smallest and the k-th largest: (1 - share) / 2 x (n + 1) rounded down, 1 at least."""
    values = [float(number**2) for number in range(count)]
    assert conformal_bounds(values[::-1], share) == (values[low], values[high])


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 19, 20, 100])
def test_the_stretch_that_holds_nine_of_ten(count: int) -> None:
    """The rank 0.9 (n + 1) rounded up, the last at the most; 1 where there is nobody to hold."""
    needed = [float(number) for number in range(count)]
    expected = needed[min(count, ceil(0.9 * (count + 1))) - 1] if count else 1.0
    assert _holding(needed[::-1]) == expected
    assert [_holding([float(number) for number in range(size)]) for size in (9, 20, 100)] == [8, 18, 90]


def test_a_residual_belongs_to_its_groups() -> None:
    """Evidence, the nearest row, rows of its kernel, engine, backend, year, family, width of weights, kind of model."""
    one = replace(residual("a", 0.1), nearest=0.4, kernel_rows=5)
    assert groups_of(one) == (
        "evidence: engine", "evidence: engine, dense", "evidence: engine, nvidia-hbm", "nearest: apart",
        "kernel rows: some", "engine: vllm", "engine: vllm, nvidia-hbm", "backend: vllm cuda", "era: vllm 2026",
        "family: nvidia-hbm", "bits: 4bit", "dense",
    )  # fmt: skip
    assert groups_of(replace(one, row=replace(one.row, moe=True)))[-1] == "mixture"


def test_rows_of_one_kind_set_the_base_alone() -> None:
    """All in the same groups: the base is the mean logarithm of their distances, no group has an effect.

    A distance is told from three hundredths up, and one beyond 1.5 counts as 1.5.
    """
    ratios = [0.1, -0.2, 0.4, 99.0, 0.0]
    found = widths([residual(str(at), ratio) for at, ratio in enumerate(ratios)])
    base = sum(log(min(FAR, abs(ratio)) + TOLD_FROM) for ratio in ratios) / 5
    assert found.base == pytest.approx(base, abs=1e-4)
    assert set(found.effects.values()) == {0.0}
    assert len(found.effects) == 12
    assert found.low == pytest.approx(-0.2 / exp(base), abs=1e-3)
    assert found.high == pytest.approx(99.0 / exp(base), rel=1e-3)


def test_an_effect_is_shrunken() -> None:
    """Two engines of n rows each, everywhere and on their family: half the difference of their logarithms between the
    two effects, n / (2 n + penalty) of it each."""
    near, far, count = 0.05, 0.8, 150
    rows = [residual(f"n{at}", near) for at in range(count)]
    rows += [residual(f"f{at}", -far, engine="sglang") for at in range(count)]
    found = widths(rows)
    low, high = log(near + TOLD_FROM), log(far + TOLD_FROM)
    effect = (high - low) / 2 * count / (2 * count + SHRINK)
    assert found.base == pytest.approx((low + high) / 2, abs=1e-4)
    assert found.effects["engine: sglang"] == pytest.approx(effect, abs=1e-4)
    assert found.effects["engine: vllm"] == pytest.approx(-effect, abs=1e-4)
    assert found.effects["engine: sglang, nvidia-hbm"] == pytest.approx(effect, abs=1e-4)
    assert found.high == pytest.approx(near / exp((low + high) / 2 - 2 * effect), abs=1e-3)
    assert found.low == pytest.approx(-far / exp((low + high) / 2 + 2 * effect), abs=1e-3)


def test_no_error_lies_between_the_ends() -> None:
    """Where all rows err to one side the other end stands a hundredth off: a stretch widens both."""
    upward = widths([residual(str(at), 0.5 + at / 100) for at in range(30)])
    assert (upward.low, upward.high > 0.5) == (-LEAST_BOUND, True)
    downward = widths([residual(str(at), -0.5 - at / 100) for at in range(30)])
    assert (downward.high, downward.low < -0.5) == (LEAST_BOUND, True)


def _expected(one: Residual, others: list[Residual]) -> tuple[float, float]:
    """The stretch that a row needs, and the span, by an interval that the other rows alone set."""
    distances = Distances(others)
    effects = distances.effects()
    low, high = distances.ends(effects)
    unit = exp(float(effects[0]) + sum(float(effects[distances.index[name]]) for name in groups_of(one)))
    ratio = one.log_ratio
    return max(ratio / (unit * high), ratio / (unit * low)), unit * (high - low)


def test_a_row_is_judged_by_rows_of_other_folds_alone() -> None:
    """Neither its fold, nor what its fold's rows show in the other schemes, had a part in the interval."""
    devices = [residual(str(at), (at * 37 % 101 - 50) / 100, at % 3) for at in range(60)]
    models = [residual(str(at), (at * 53 % 101 - 50) / 40, at % 4, "sglang") for at in range(80)]
    found = judged({"device": devices, "model": models})
    assert isinstance(found, Judged)
    assert [len(found[name]) for name in ("device", "model")] == [60, 80]
    for scheme, rows in (("device", devices), ("model", models)):
        for at in (0, 1, 17, 50):
            names = {one.row.id for one in rows if one.fold == rows[at].fold}
            others = [one for one in (*devices, *models) if one.row.id not in names]
            assert found[scheme][at] == pytest.approx(_expected(rows[at], others))


def test_rows_of_one_name_leave_their_fold_out() -> None:
    """Without names of their own only the fold itself is left out, of the right scheme; a lone fold judges nobody."""
    first = [residual("x", 0.1 + at / 100, at % 2) for at in range(20)]
    second = [residual("x", -0.3 - at / 100, at % 2) for at in range(20)]
    found = judged({"device": first, "model": second})
    others = [*first, *(one for one in second if one.fold != 0)]
    assert found["model"][0] == pytest.approx(_expected(second[0], others))
    assert judged({"device": [residual("x", 0.1), residual("x", 0.2)]})["device"] == [(0.0, 0.0)] * 2


def test_engines_of_few_rows_share_a_stretch() -> None:
    """90 residuals are enough for one of its own, 89 are not; the rest is told under one name."""
    rows = [residual(f"v{at}", 0.1, at % 2) for at in range(ENOUGH_TO_STRETCH)]
    rows += [residual(f"s{at}", 0.1, at % 2, "sglang") for at in range(ENOUGH_TO_STRETCH - 1)]
    needed = Judged({"device": [(at / 10, 1.0) for at in range(len(rows))]})
    found = stretch_by_engine({"device": rows}, needed)
    assert found == {"vllm": (8.1, 90), OTHER_ENGINES: (pytest.approx(17.0), 89)}
    assert found["vllm"][0] == _holding([at / 10 for at in range(90)])
    assert stretch_by_engine({}) == {OTHER_ENGINES: (1.0, 0)}


def test_a_stretch_of_few_rows_is_drawn_to_that_of_all() -> None:
    """By the weight of the table, for prompts: with as many residuals as the pool, half way between the two."""
    pool = int(tuned("width_pool_prefill"))
    few = [residual(f"v{at}", 0.1, at % 2) for at in range(pool)]
    many = [residual(f"s{at}", 0.1, at % 2, "llama.cpp") for at in range(20 * pool)]
    rows = [replace(one, row=replace(one.row, quantity="prefill")) for one in (*few, *many)]
    needed = Judged({"device": [(4.0, 1.0)] * len(few) + [(1.0, 1.0)] * len(many)})
    found = stretch_by_engine({"device": rows}, needed)
    assert found["vllm"] == (pytest.approx(2.0), pool)
    assert found["llama.cpp"] == (pytest.approx(1.0), 20 * pool)


@pytest.mark.parametrize(
    ("engine", "quantity", "needed", "span", "held", "width"),
    [
        ("vllm", "decode", 2.0, 0.1, True, exp(0.2)),
        ("vllm", "decode", 2.01, 0.1, False, exp(0.2)),
        ("vllm", "decode", 2.0, 2.0, False, WIDEST["decode"]),  # bounded: a factor of six
        ("vllm", "prefill", 1.0, 2.0, True, WIDEST["prefill"]),  # a prompt's, of eight
        ("rare", "prefill", 1.3, 2.0, False, WIDEST["prefill"]),  # of any engine
        ("rare", "decode", 3.0, 2.0, True, exp(6.0)),  # not decode of an engine with few rows
        ("rare", "decode", 3.1, 2.0, False, exp(6.0)),
    ],
)
def test_an_interval_is_stretched_and_bounded(  # noqa: PLR0917 - a table
    engine: str, quantity: str, needed: float, span: float, held: bool, width: float
) -> None:
    """As its engine's, or as that of those with few rows; decode spans a factor of six at most, a prompt of eight."""
    row = residual("a", 0.1, engine=engine)
    row = replace(row, row=replace(row.row, quantity=quantity))
    found = _held(row, (needed, span), {"vllm": (2.0, 90), OTHER_ENGINES: (3.0, 10)})
    assert found == (held, pytest.approx(width))


def test_what_is_held_is_told_for_each_residual() -> None:
    """In the order of the residuals, by scheme: the far ones lie outside."""
    rows = [residual(str(at), 5.0 if at in {3, 40} else (at % 11 - 5) / 100, at % 4) for at in range(120)]
    found = held_in_bounds({"device": rows, "model": rows[:60]})
    assert [at for at, (inside, _) in enumerate(found["device"]) if not inside and at in {3, 40}] == [3, 40]
    assert len(found["model"]) == 60
    needed = judged({"device": rows, "model": rows[:60]})
    stretches = stretch_by_engine({"device": rows, "model": rows[:60]}, needed)
    assert found["model"][7] == _held(rows[7], needed["model"][7], stretches)


@pytest.mark.parametrize("step", [37, 41, 53, 59])
def test_a_width_has_four_digits(step: int) -> None:
    """Base, ends and effects, as the folds' own arithmetic gives them."""
    rows = [residual(str(at), (at * step % 101 - 50) / 77, engine=f"e{at % 3}") for at in range(90)]
    found, distances = widths(rows), Distances(rows)
    effects = distances.effects()
    low, high = distances.ends(effects)
    assert (found.base, found.low, found.high) == tuple(round(float(one), 4) for one in (effects[0], low, high))
    assert found.effects == {name: round(float(effects[at]), 4) for name, at in distances.index.items()}


def test_a_residual_without_its_judgement_is_a_fault() -> None:
    """Lists of unlike lengths are refused."""
    with pytest.raises(ValueError, match="shorter"):
        stretch_by_engine({"device": [residual("a", 0.1)]}, Judged({"device": []}))
