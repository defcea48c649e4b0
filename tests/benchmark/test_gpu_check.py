"""The script that measures a GPU machine runs as it is, on a CPU with tiny models."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sizer.calibrate.measurements import read_measurements

pytest.importorskip("torch")
pytest.importorskip("transformers")
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_check.py"


def test_it_measures_predicts_and_saves(tmp_path: Path) -> None:
    """Four cells of a tiny model are measured, predicted, and saved as rows that the reader of measurements takes."""
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--tiny", "--only", "llama-bf16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert [one["batch"] for one in found["cells"]] == [1, 2, 1, 2]
    assert all(one["predicted"]["decode_tokens_per_s"] > 0 for one in found["cells"])
    assert found["probe"]["copy_bytes_per_s"] > 0
    rows = read_measurements(tmp_path / "rows.csv")
    assert [row.batch for row in rows] == [1, 2, 1, 2]
    assert any(row.decode_tokens_per_s for row in rows)
    assert not any(row.bad for row in rows)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as lines:
        assert "aggregate" in list(csv.DictReader(lines))[1]["flags"]
