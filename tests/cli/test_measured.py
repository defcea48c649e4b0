"""`sizer measured` and the measured rows beside a prediction: rows of the table, as they stand there."""

from __future__ import annotations

import csv
import json
import re

import pytest
from click.testing import CliRunner

import sizer
from sizer.answer.measured import SAME
from sizer.cli.measured import command
from sizer.tables import data_path

MODEL = "meta-llama/Meta-Llama-3-8B-Instruct"


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, str]]:
    """The measurements by id."""
    with data_path("measurements.csv").open(encoding="utf-8", newline="") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def test_rows_are_those_of_the_table(table: dict[str, dict[str, str]]) -> None:
    """Each listed speed is the table's own figure with its source and date, and the asked case comes first."""
    words = [MODEL, "-d", "rtx-4090", "-p", "q4_k_m", "-e", "llama.cpp", "--offline", "--json"]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    rows = json.loads(result.stdout)
    assert rows[0]["same"] == ["model", "precision", "device", "engine"]
    for row in rows:
        seen = table[row["id"]]
        assert row["tokens_per_s"] == pytest.approx(float(seen[f"{row['quantity']}_tokens_per_s"]), rel=1e-4)
        assert (row["source"], row["date"], row["device"]) == (seen["source_url"], seen["source_date"], seen["device"])
        assert "device" in row["same"]


def test_an_estimate_shows_the_nearest_rows_and_stays_a_prediction(table: dict[str, dict[str, str]]) -> None:
    """The JSON's measured rows share model and device; the prediction is none of them; none is shown where none is."""
    one = sizer.estimate(MODEL, device="rtx-4090", precision="q4_k_m", offline=True).estimates[0]
    assert one.decode.measured
    assert one.prefill.measured
    assert all({"model", "device"} <= set(row.same) for row in (*one.decode.measured, *one.prefill.measured))
    assert all(row.id in table for row in one.decode.measured)
    assert one.decode.tokens_per_s not in {row.tokens_per_s for row in one.decode.measured}
    far = sizer.estimate("openai/gpt-oss-120b", device="rtx-4060", precision="mxfp4", offline=True).estimates[0]
    assert far.decode.measured == ()


def test_a_person_can_tell_the_devices_apart() -> None:
    """The table's device is told by its number, not by its maker's name alone; where a device has no row, how many
    rows others have is said, and stdout stays empty."""
    page = CliRunner().invoke(command, ["Qwen/Qwen3-8B", "--offline"], catch_exceptions=False).stdout
    assert "RTX 2080" in page
    assert "GeForce.." not in page
    nothing = CliRunner().invoke(command, ["Qwen/Qwen3-8B", "-d", "rtx-3090", "--offline"], catch_exceptions=False)
    assert re.search(r"\d+ are of other devices", nothing.stderr)
    assert nothing.stdout.strip() == ""


def test_nothing_near_is_said_in_words() -> None:
    """A model that nobody measured gives an empty list and one line on stderr."""
    result = CliRunner().invoke(command, ["openai-community/gpt2", "--offline", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout) == []
    assert "sizer estimate" in result.stderr


def test_fit_and_hardware_rows_hold_what_was_measured(table: dict[str, dict[str, str]]) -> None:
    """A row of a device and model that were measured so lists those rows, and its cell is marked and explained."""
    from sizer.cli.fit import command as fit

    words = ["-d", "rtx-4090", "--family", "qwen3", "--engine", "llama.cpp", "--all", "--limit", "40"]
    rows = json.loads(CliRunner().invoke(fit, [*words, "--json"], catch_exceptions=False).stdout)
    seen = [one for row in rows for one in row["measured"]]
    assert seen
    assert all(one["id"] in table and {"model", "device"} <= set(one["same"]) for one in seen)
    page = CliRunner().invoke(fit, words, catch_exceptions=False).stdout
    as_asked = [row for row in rows if row["measured"] and len(row["measured"][0]["same"]) == len(SAME)]
    assert page.count(" \u2713") == len(as_asked)
    assert ("sizer measured MODEL" in page) == bool(as_asked)


def test_a_recommendation_names_the_nearest_measured_row() -> None:
    """Below the ladder stands the measured row of the chosen precision, with who measured it."""
    from sizer.cli.recommend import command as recommend

    words = ["meta-llama/Llama-3.1-8B", "-d", "rtx-4090", "--offline"]
    page = CliRunner().invoke(recommend, words, catch_exceptions=False).stdout
    assert "\u2713 q6_k:" in page
    assert "measured (llama.cpp" in page
