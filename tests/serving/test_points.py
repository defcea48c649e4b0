"""Measured points under load: how rows are read, what is predicted of them, what the fitted corrections may do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from clirun import Run

from sizer.calibrate.load_calibration import _coverage, digests
from sizer.calibrate.load_validation import predict_points, validate_points
from sizer.errors import InvalidInputFile
from sizer.serving.corrections import corrections
from sizer.serving.layout import Layout
from sizer.serving.points import is_serving_table, point, read_rows
from sizer.tables import data_path, read_json

ROW = {
    "id": "a", "backend": "trtllm", "backend_version": "1.0", "model_path": "Qwen/Qwen3-32B", "system": "h100_sxm",
    "isl": "1024", "osl": "128", "batch_size": "16", "tp_size": "4", "pp_size": "1", "attention_dp_size": "",
    "moe_tp_size": "1", "moe_ep_size": "1", "gemm_quant_mode": "fp8", "silicon_ttft_ms": "250", "silicon_tpot_ms": "12",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """The rows of data/serving.csv."""
    return list(read_rows(data_path("serving.csv")))


def test_a_row_is_read_as_it_says() -> None:
    """Engine, device, precision, ranks, users and both times of a plain row."""
    found = point(ROW)
    assert (found.engine, found.device, found.precision) == ("tensorrt-llm", "NVIDIA H100 SXM 80GB", "fp8")
    assert (found.devices, found.layout.tensor_ranks, found.load.users) == (4, 4, 16)
    assert (found.ttft_s, found.tpot_s) == (0.25, 0.012)


@pytest.mark.parametrize(
    ("ranks", "layout", "times"),
    [
        (("8", "1", "8", "1"), Layout(8, in_flight=True), 1),
        (("4", "1", "1", "4"), Layout(4, expert_parallel=True, in_flight=True), 1),
        (("64", "1", "8", "8"), Layout(8, expert_parallel=True, in_flight=True), 1),
        (("4", "4", "1", "16"), Layout(1, 4, expert_parallel=True, in_flight=True), 4),
        (("1", "8", "1", "8"), Layout(1, 8, expert_parallel=True, in_flight=True), 8),
        (("4", "", "2", "2"), Layout(4, expert_parallel=True, in_flight=True), 1),
    ],
)
def test_ranks_are_counted_once(ranks: tuple[str, ...], layout: Layout, times: int) -> None:
    """Devices that a source counts twice are one group; users are those of every group of attention."""
    columns = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    found = point({**ROW, **dict(zip(columns, ranks, strict=True))})
    assert found.layout == layout
    assert found.load.users == 16 * times


def test_the_same_measurement_under_two_spellings_is_one_case() -> None:
    """Where the table repeats a measured pair of times with other rank columns, both rows are the same devices."""
    seen: dict[tuple[str, ...], set[int]] = {}
    for row in rows():
        key = (row["backend"], row["model_path"], row["system"], row["silicon_ttft_ms"], row["silicon_tpot_ms"])
        seen.setdefault(key, set()).add(point(row).devices)
    repeated = [devices for devices in seen.values() if len(devices) > 1]
    assert len(repeated) <= 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("batch_size", "many"), ("isl", "-4"), ("osl", "0"), ("batch_size", "0"), ("silicon_tpot_ms", "nan"),
     ("tp_size", "1e12"), ("silicon_ttft_ms", "inf"), ("batch_size", "9" * 300)],
)  # fmt: skip
def test_rows_that_cannot_be_are_skipped_with_a_reason(column: str, value: str) -> None:
    """A row with a wrong figure is skipped, with what is wrong, and stops nothing."""
    found = list(predict_points([{**ROW, column: value}, ROW]))
    assert found[0].reason
    assert not found[0].predictions
    assert len(found[1].predictions) == 2


def test_unknown_names_are_skipped_with_a_reason() -> None:
    """A system, an engine and a precision that nobody knows are named in the reason."""
    for column, value in (("system", "foo9"), ("backend", "nope"), ("gemm_quant_mode", "q99")):
        found = next(iter(predict_points([{**ROW, column: value}])))
        assert value[:3] in found.reason


def test_validate_answers_both_times(run: Run, tmp_path: Path) -> None:
    """`sizer validate` on the table's columns gives predictions in seconds and both summaries beside decode."""
    some = rows()[::150]
    file = tmp_path / "some.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(some[0]))
        writer.writeheader()
        writer.writerows(some)
    result = run("validate", str(file), "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["rows"] == len(some)
    assert found["scored"] == len(some)
    assert found["decode"]["n"] == 0
    assert found["ttft"]["n"] == found["tpot"]["n"] == len(some)
    for one in found["predictions"]:
        assert one["quantity"] in {"ttft", "tpot"}
        assert one["low"] <= one["predicted"] <= one["high"]
        assert one["ape"] == pytest.approx(abs(one["predicted"] / one["measured"] - 1))
    assert "Time per token by engine" in run("validate", str(file)).out


def test_predictions_of_known_points_are_near() -> None:
    """Of every 40th point, the median error is below 12 % for the time per token and 35 % for the first token.

    These points taught the corrections: this holds the constants to the law they were fitted on. Errors on points kept
    elsewhere are in docs/serving_accuracy.md.
    """
    found = validate_points(predict_points(rows()[::40]))
    assert (found.by_quantity["tpot"].median_ape or 1) < 0.12
    assert (found.by_quantity["ttft"].median_ape or 1) < 0.35


def test_constants_say_what_they_were_fitted_on() -> None:
    """The points behind the corrections are those of the table: refit them when it moves."""
    assert read_json("serving_constants.json")["inputs"]["serving.csv"] == digests()["serving.csv"], (
        "run: sizer calibrate data/serving.csv --output data/serving_constants.json"
    )


def test_corrections_leave_unmeasured_engines_alone() -> None:
    """An engine whose kernels no point measured keeps the law's own times."""
    names = {"engine": "engine: llama.cpp", "all": "all: all", "runtime": "llama.cpp"}
    known = corrections()
    assert known.runtimes
    assert all(known.factor(term, names) == 1.0 for term in known.effects)


def test_files_are_told_apart(tmp_path: Path) -> None:
    """A table of points is known by its columns, and a column that is missing is named."""
    assert is_serving_table(data_path("serving.csv"))
    assert not is_serving_table(data_path("measurements.csv"))
    bad = tmp_path / "bad.csv"
    bad.write_text("model_path,system,batch_size\n")
    with pytest.raises(InvalidInputFile, match="backend"):
        list(read_rows(bad))


def test_rows_of_one_s_own_tell_their_rate_flags_and_requests() -> None:
    """A saved load: an open rate instead of users, the engine's flags, and how many requests its means are of."""
    found = point({**ROW, "rate_per_s": "2.5", "engine_flags": "--max-num-seqs 8", "requests": "40"})
    assert (found.load.users, found.load.rate_per_s) == (None, 2.5)
    assert (found.engine_flags, found.requests) == ("--max-num-seqs 8", 40)
    with pytest.raises(InvalidInputFile, match="rate_per_s"):
        point({**ROW, "rate_per_s": "fast"})


def test_coverage_never_sees_the_fold_that_it_judges() -> None:
    """Of folds that agree nearly nine tenths lie within; a fold far from all others lies outside wholly."""

    class One:
        def __init__(self, fold: str, residual: float) -> None:
            self.case, self.tpot = fold, residual

    even = [One(fold, index / 50 - 1) for fold in "abcd" for index in range(101)]
    share = _coverage(even, str, "tpot")  # type: ignore[arg-type]
    assert 0.85 < share < 0.95
    odd = [*even, *(One("e", 9.0) for _ in range(101))]
    assert _coverage(odd, str, "tpot") == pytest.approx(share * 0.8, abs=0.12)  # type: ignore[arg-type]
