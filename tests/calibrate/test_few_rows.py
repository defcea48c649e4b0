"""A calibration of a few rows does what they suffice for, and says what they are too few for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from clirun import Run

from sizer.speed.law import constants_of
from sizer.tables import data_path

pytest.importorskip("scipy")


def _few(path: Path, count: int, step: int, **cells: str) -> Path:
    """Every `step`-th row of the measured ones, `count` of them."""
    with data_path("measurements.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))[::step][:count]
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **cells} for row in rows)
    return path


@pytest.mark.parametrize("step", [1, 61])
@pytest.mark.parametrize("count", [1, 2, 5, 10, 30, 60])
def test_few_rows_are_fitted(run: Run, tmp_path: Path, count: int, step: int) -> None:
    """From one row up the constants are written, whole enough to predict with; what is too few for what is told."""
    path, written = _few(tmp_path / "rows.csv", count, step), tmp_path / "constants.json"
    result = run("calibrate", str(path), "-o", str(written), "--report", str(tmp_path / "report.md"))
    assert (result.code, result.err) == (0, "")
    assert "those of this version" in result.out
    assert "nan" not in result.out
    assert "inf" not in result.out
    shipped = json.loads(data_path("constants.json").read_text(encoding="utf-8"))
    document = json.loads(written.read_text(encoding="utf-8"))
    assert document["terms"].keys() == shipped["terms"].keys()
    fitted = constants_of(document)
    assert fitted.widths.keys() == fitted.stretches.keys() == shipped["widths"].keys()


def test_a_quantity_that_no_row_teaches_stays_as_it_was(run: Run, tmp_path: Path) -> None:
    """Rows of decode alone leave the constants and intervals of prefill to this version, and say so."""
    path, written = _few(tmp_path / "rows.csv", 60, 61, prefill_tokens_per_s=""), tmp_path / "constants.json"
    result = run("calibrate", str(path), "-o", str(written))
    assert "prefill: no row teaches it" in result.out
    shipped, document = (
        json.loads(text.read_text(encoding="utf-8")) for text in (data_path("constants.json"), written)
    )
    assert document["widths"]["prefill"] == shipped["widths"]["prefill"]
    assert document["stretches"]["prefill"] == shipped["stretches"]["prefill"]


def test_rows_of_one_device_have_no_error_with_it_left_out(run: Run, tmp_path: Path) -> None:
    """Nothing is left to fit without the only device; the errors with a model left out are still told."""
    path = _few(tmp_path / "rows.csv", 60, 61, device="rtx-4090")
    said = run("calibrate", str(path)).out
    assert "have one device" in said
    assert "one device left out" not in said
    assert "one model" in said


@pytest.mark.parametrize(("cells", "named"), [({"device": "Foo 9"}, "Foo 9"), ({"decode_tokens_per_s": ""}, "speed")])
def test_rows_that_teach_nothing_are_an_error_with_the_reason(
    run: Run, tmp_path: Path, cells: dict[str, str], named: str
) -> None:
    """A file none of whose rows resolves, or has a speed, ends with 2 and says why the first does not."""
    result = run("calibrate", str(_few(tmp_path / "rows.csv", 3, 61, **{"prefill_tokens_per_s": "", **cells})))
    assert result.code == 2
    assert named in result.err


def test_rows_of_one_name_are_judged(run: Run, tmp_path: Path) -> None:
    """Rows that all have the same id, as a careless export gives, are fitted like others."""
    assert run("calibrate", str(_few(tmp_path / "rows.csv", 120, 31, id="same"))).code == 0
