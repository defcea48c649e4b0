"""When a row's engine was built: its date, foreign counts of builds, and constants that step by half-years."""

from __future__ import annotations

import pytest

from sizer.calibrate.design import Design, Parameter
from sizer.calibrate.measurements import measurement
from sizer.calibrate.observations import built, observe_row
from sizer.calibrate.terms import TERMS, TermPrior
from sizer.engine.releases import foreign_count
from sizer.speed.case import HALF_YEARS

ROW = {
    "id": "a-1", "engine": "llama.cpp", "backend": "cuda", "model": "Qwen/Qwen3-8B", "precision": "q4_k_m",
    "device": "NVIDIA GeForce RTX 4090", "metric": "decode", "decode_tokens_per_s": "120",
}  # fmt: skip


@pytest.mark.parametrize(
    ("date", "told"),
    [("2026-06-12", "2026-06-12"), ("2025-04", "2025-04"), ("2024", "2024-06-30"), ("", ""), ("June", "")],
)
def test_a_row_is_of_its_date_and_a_year_alone_of_its_middle(date: str, told: str) -> None:
    """Nothing is made of a text that is no date."""
    assert built(measurement(ROW | {"source_date": date})) == told


@pytest.mark.parametrize(
    ("version", "date", "foreign"),
    [
        ("b741 (1fd6dfe)", "2026-06-01", True),
        ("b1203", "2026-05", True),
        ("b6217 (6217b49)", "2026-05-01", True),
        ("b6918", "2026-12", False),
        ("b4384", "2026-05", False),
        ("b741", "2024-01", False),
        ("2d97363", "2026", False),
        ("", "2026-05", False),
    ],
)
def test_builds_counted_by_others_tell_no_release(version: str, date: str, foreign: bool) -> None:
    """Too old by a year and more for the date of the run, or the start of a commit's name."""
    assert foreign_count("llama.cpp", version, date) is foreign
    row = measurement(ROW | {"engine_version": version, "source_date": date})
    assert row.engine_version == ("" if foreign else version)


def test_only_engines_whose_builds_are_known_have_foreign_counts() -> None:
    """Another engine's low version is one of its own."""
    assert not foreign_count("vllm", "0.2.2", "2026-05")


def test_an_engine_has_the_steps_of_all_half_years_before_it() -> None:
    """So that what lies between measured dates is told by both, and what lies after them by the last."""
    (early,), (late,) = (observe_row(measurement(ROW | {"source_date": date})) for date in ("2024-09-01", "2026-02"))
    steps = [[name for name in row.groups if name.startswith("since ")] for row in (early, late)]
    assert steps == [[f"since {start}" for start in HALF_YEARS[:count]] for count in (2, 5)]
    priors = {"weights": TermPrior(0.2, {"since": 0.1})}
    design = Design([early, late], priors)
    moving = {one for one in design.index if one.term == "weights" and one.level}
    assert moving == {Parameter("weights", "since", f"since {start}: llama.cpp") for start in HALF_YEARS[:5]}


def test_today_s_engine_has_every_step() -> None:
    """A question without a date is asked of the newest engine; no term of decode knows unordered years beside them."""
    (row,) = observe_row(measurement(ROW))
    assert [name for name in row.groups if name.startswith("since ")] == [f"since {start}" for start in HALF_YEARS]
    assert not any("era" in prior.spreads for prior in TERMS["decode"].values())
