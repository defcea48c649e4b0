"""Figures of a service counted on paper: machines of a day, prices, percentiles, loads, layouts and rules."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from fifos import needs_pipes

from sizer.benchmark.saved import read_saved
from sizer.device.catalogue import find
from sizer.errors import InvalidInputFile, UsageError
from sizer.serving.curves import BATCHES, DEPTHS, PROMPTS
from sizer.serving.day import day_of, machines_for, read_arrivals
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.prices import Price, price_of
from sizer.serving.rules import MOST_SEQUENCES, MOST_STEP_TOKENS, Scheduler
from sizer.serving.simulated import percentile
from sizer.tables import read_rows


def test_the_machines_of_a_day() -> None:
    """Each hour its rate over a machine's, rounded up; a rate that fills machines exactly takes no more of them."""
    day = day_of([(0, 0.0), (1, 0.5), (2, 6.0), (3, 6.1)], 2.0, Price(3.0), devices=4, output_tokens=500)
    assert [hour.machines for hour in day.hours] == [0, 1, 3, 4]
    assert (day.peak_machines, day.machine_hours) == (4, 8.0)
    assert day.requests == pytest.approx(12.6 * 3600)
    assert day.usd_per_day_peak == 3.0 * 4 * 4 * 24
    assert day.usd_per_day_following == pytest.approx(3.0 * 4 * 8 / (4 / 24))
    millions = 12.6 * 3600 * 500 / 1e6
    assert day.usd_per_million_tokens_peak == pytest.approx(12.0 * 4 * 4 / millions)
    assert day.usd_per_million_tokens_following == pytest.approx(12.0 * 8 / millions)
    idle = day_of([(0, 0.0)], 2.0, Price(3.0), 4, 500)
    assert (idle.peak_machines, idle.usd_per_million_tokens_peak, idle.usd_per_million_tokens_following) == (
        0,
        None,
        None,
    )
    assert day_of([(0, 1.0)], 0.0, None, 4, 500).hours[0].machines == 0


@needs_pipes
def test_a_pipe_is_no_file_of_arrivals_or_results(tmp_path: Path) -> None:
    """Nobody writes into it: reading would wait for ever, as /dev/zero is read for ever."""
    os.mkfifo(tmp_path / "pipe.csv")
    for read in (read_arrivals, read_saved):
        with pytest.raises(InvalidInputFile, match="is no file"):
            read(tmp_path / "pipe.csv")


def test_the_least_load_takes_a_machine() -> None:
    """However few requests come, no machine serves none of them: so few were said to take 0, and in JSON `true`."""
    assert type(machines_for(1e-12, 20.0)) is int
    assert machines_for(1e-12, 20.0) == machines_for(20.0, 20.0) == 1
    assert machines_for(0.0, 20.0) == machines_for(1.0, 0.0) == 0


def test_arrivals_are_read_by_the_hour(tmp_path: Path) -> None:
    """Requests of an hour are a rate of 3,600 seconds; few a day are still some, and none is a rate too."""
    table = tmp_path / "day.csv"
    table.write_text("hour,requests\n0,1800\n1,0\n,36\n", encoding="utf-8")
    assert read_arrivals(table) == [(0, 0.5), (1, 0.0), (2, 0.01)]
    table.write_text("hour,rps\n0,-1\n", encoding="utf-8")
    with pytest.raises(InvalidInputFile, match="row 1"):
        read_arrivals(table)


def test_the_median_offer_is_a_row_of_the_table() -> None:
    """Of a device's offers by the device and hour the lower middle one, with the ends beside it."""
    each = sorted(
        float(row["usd_per_hour"]) / int(row["count"])
        for row in read_rows("prices.csv")
        if row["device_key"] == "h100-80gb-sxm" and row["usd_per_hour"] and int(row["count"] or 0)
    )
    offer = price_of(find("h100-80gb-sxm"))
    assert offer is not None
    assert offer.usd_per_device_hour == each[(len(each) + 1) // 2 - 1]
    assert (offer.offers, offer.lowest, offer.highest) == (len(each), each[0], each[-1])
    assert f"the median of {len(each)} offers" in offer.words


def test_one_offer_is_no_median() -> None:
    """A price that one cloud alone asks is told without a spread."""
    assert "median" not in Price(2.0, "cloud", "box", offers=1, lowest=2.0, highest=2.0).words


@pytest.mark.parametrize(("share", "seconds"), [(0, 1.0), (0.5, 3.0), (0.9, 4.6), (0.99, 4.96), (1, 5.0)])
def test_percentiles_lie_between_neighbours(share: float, seconds: float) -> None:
    """Of five values in any order: the ends at 0 and 1, between them in a straight line."""
    assert percentile([4.0, 1.0, 5.0, 3.0, 2.0], share) == pytest.approx(seconds)


def test_a_load_in_tokens() -> None:
    """A sequence has its prompt and half of its answer in the cache on the mean; a prefix that is found is not read."""
    load = Load(1000, 200, users=4, prefix_hit=0.75)
    assert (load.whole_tokens, load.mean_depth, load.new_prompt_tokens) == (1200, 1100, 250)
    assert Load(1000, 200, users=4, prefix_hit=1.0).new_prompt_tokens == 1
    drawn = [load.lengths(Random(seed)) for seed in range(400)]
    assert all(800 <= prompt <= 1200 and 160 <= output <= 240 for prompt, output in drawn)
    assert fmean(prompt for prompt, _ in drawn) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix_hit": -0.01}, {"prefix_hit": 1.01}, {"spread": 1.0}, {"spread": -0.1}, {"prompt_tokens": 0},
        {"output_tokens": 2**24 + 1}, {"users": 0}, {"users": None}, {"users": None, "rate_per_s": 0.0},
        {"rate_per_s": 1.0},
    ],
)  # fmt: skip
def test_a_load_that_cannot_be_is_refused(wrong: dict[str, float | None]) -> None:
    """Shares beyond a whole, lengths and users beyond any, and a load of two kinds."""
    with pytest.raises(UsageError):
        Load(**{"prompt_tokens": 100, "output_tokens": 10, "users": 1, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout(), "TP 1"),
        (Layout(2), "TP 2"),
        (Layout(2, stages=2), "TP 2 x PP 2"),
        (Layout(1, stages=4), "PP 4"),
        (Layout(1, attention_groups=8, expert_parallel=True), "DP attention 8 x EP 8"),
    ],
)
def test_a_layout_in_words(layout: Layout, words: str) -> None:
    """What is one is not told, but for a single device."""
    assert layout.words == words


@pytest.mark.parametrize("ranks", [{"tensor_ranks": 0}, {"attention_groups": 0}, {"stages": 0}, {"tensor_ranks": 2000}])
def test_a_layout_of_no_devices_or_too_many_is_refused(ranks: dict[str, int]) -> None:
    """Each count is positive, and all together no more than any machine has."""
    with pytest.raises(UsageError):
        Layout(**ranks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_tokens": 0}, {"step_tokens": MOST_STEP_TOKENS + 1}, {"max_sequences": 0},
        {"max_sequences": MOST_SEQUENCES + 1}, {"prompts": "after"}, {"reserves": "half"}, {"products": "wide"},
        {"budget": "card"},
    ],
)  # fmt: skip
def test_a_scheduler_without_rules_is_refused(wrong: dict[str, object]) -> None:
    """Counts from one to the most of any engine, and the words that docs/serving.md explains."""
    right: dict[str, object] = {
        "engine": "vllm", "step_tokens": 8192, "max_sequences": 256, "prompts": "beside", "reserves": "grow",
    }  # fmt: skip
    assert Scheduler(**{**right, "step_tokens": MOST_STEP_TOKENS, "max_sequences": MOST_SEQUENCES})  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        Scheduler(**{**right, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [BATCHES, DEPTHS, PROMPTS])
def test_a_law_is_tabulated_at_powers_and_halves_between_them(counts: tuple[int, ...]) -> None:
    """Counts grow, and each is a power of two or one and a half of one: lines between them stay straight."""
    assert sorted(set(counts)) == list(counts)
    assert all(count & (count - 1) == 0 or (count // 3) & (count // 3 - 1) == 0 for count in counts)
