"""Rows of a results file: all or nothing, never two at once, readable by validate."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sizer.bench.records import Caution, Measurement, Run
from sizer.bench.save import COLUMNS, append, row
from sizer.errors import BenchmarkFailed, InvalidInputFile
from sizer.tables import data_path


def _measured(**changes: object) -> Measurement:
    fields: dict[str, object] = {
        "engine": "transformers",
        "precision": "bf16",
        "prompt_tokens": 512,
        "output_tokens": 128,
        "batch_size": 1,
        "decode_tokens_per_s": 20.0,
        "prefill_tokens_per_s": 100.0,
        "ttft_s": 5.12,
        "tpot_s": 0.05,
        "weights_bytes": 2**30,
        "peak_memory_bytes": 2**31,
        "load_s": 1.0,
        "random_weights": True,
        "threads": 2,
        "runs": (Run(5.12, 6.35),),
        "machine": {"fingerprint": "abc"},
        "versions": {"accelerate": "1.0", "transformers": "5.23.0"},
        "warnings": (),
        "model": "Qwen/Qwen3-0.6B",
        "device": "cpu",
        "device_name": "a CPU, with a comma",
        "measured_on": "2026-11-22T17:00:00.123456+00:00",
    }
    return Measurement(**{**fields, **changes})  # type: ignore[arg-type]


ROW = row(_measured(), None, "0.1.0")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_columns_are_those_of_the_measurements():
    """The columns are the ones of the table that calibration reads."""
    with data_path("measurements.csv").open(encoding="utf-8") as lines:
        assert tuple(next(csv.reader(lines))) == COLUMNS


def test_row_says_what_was_measured(tmp_path: Path):
    """A row reads back with the figures, the memory in GiB and the version of its format."""
    path = tmp_path / "results.csv"
    append(path, ROW)
    (read,) = _rows(path)
    assert read == ROW
    assert read["memory_gib"] == "2.0"
    assert read["device"] == "a CPU, with a comma"
    assert read["engine_version"] == "5.23.0, accelerate 1.0"
    assert "row format 1" in read["source_url"]


def test_aggregate_of_several_sequences():
    """With a batch or several users the decode figure is the aggregate, as everywhere in the table."""
    made = row(_measured(batch_size=2, concurrency=3), None, "0")
    assert (made["batch"], made["decode_tokens_per_s"]) == ("6", "120.0")


def test_spoiled_rows_are_flagged():
    """What calibration must not learn from carries a flag."""
    cautions = (Caution("spilled", "", ""), Caution("throttled", "", ""), Caution("noisy", "", ""))
    assert row(_measured(warnings=cautions), None, "0")["flags"] == "offload|power_limited"


def test_rows_follow_the_files_own_columns(tmp_path: Path):
    """A file with the columns in another order, more columns, or no last newline is continued as it is."""
    path = tmp_path / "results.csv"
    header = [*reversed(COLUMNS), "mine"]
    path.write_text(",".join(header), encoding="utf-8")
    append(path, ROW)
    assert _rows(path) == [{**ROW, "mine": ""}]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "id\n"])
def test_other_files_are_not_written_to(tmp_path: Path, text: str):
    """A file that is no results file is refused and left alone."""
    path = tmp_path / "other.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputFile, match="other columns"):
        append(path, ROW)
    assert path.read_text(encoding="utf-8") == text


def test_device_nodes_are_not_replaced():
    """`--save /dev/full` must not replace the node."""
    with pytest.raises(BenchmarkFailed, match="no file"):
        append(Path("/dev/full"), ROW)


def test_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the disk is full, the error says so, the file is untouched and no temporary file is left."""
    path = tmp_path / "results.csv"
    append(path, ROW)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchmarkFailed, match="No space left on device") as caught:
        append(path, ROW)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["results.csv"]


LIMITED = """
import json, resource, signal, sys
from pathlib import Path
from sizer.bench.save import append
from sizer.errors import BenchmarkFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
try:
    append(Path(sys.argv[1]), json.loads(sys.argv[2]))
except BenchmarkFailed as error:
    sys.exit(error.exit_code)
"""


def test_write_that_the_system_cuts_short(tmp_path: Path):
    """A write that really stops half-way (a file-size limit) leaves the whole old file and nothing else."""
    path = tmp_path / "results.csv"
    append(path, ROW)
    before = path.read_bytes()
    command = [sys.executable, "-c", LIMITED, str(path), json.dumps(ROW)]
    assert subprocess.run(command, check=False).returncode == 5
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["results.csv"]


def _append_many(path: Path, name: str) -> None:
    for index in range(10):
        append(path, {**ROW, "id": f"{name}-{index}"})


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path):
    """Two processes that append at once both get all their rows in."""
    path = tmp_path / "results.csv"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(item["id"] for item in _rows(path)) == sorted(f"{name}-{i}" for name in "ab" for i in range(10))


def test_permissions_survive(tmp_path: Path):
    """Replacing the file keeps its mode."""
    path = tmp_path / "results.csv"
    append(path, ROW)
    path.chmod(0o640)
    append(path, ROW)
    assert path.stat().st_mode & 0o777 == 0o640
