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
from benchserver import fake_server
from clirun import Run as Command

from sizer.benchmark.records import Caution, Measurement, Run
from sizer.benchmark.runner import Result, row_of, save
from sizer.benchmark.save import COLUMNS, OPTIONAL, append, check, row
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
    """The columns are the ones of the table that calibration reads, and the engine's flags, which few rows have."""
    with data_path("measurements.csv").open(encoding="utf-8") as lines:
        header = next(csv.reader(lines))
    assert [name for name in COLUMNS if name not in OPTIONAL] == [name for name in header if name not in OPTIONAL]


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
    """Every warning stands in the row, under the name that other sources' rows have for it, else its own code."""
    codes = ("spilled", "throttled", "noisy", "other-process")
    made = row(_measured(warnings=tuple(Caution(code, "", "") for code in codes)), None, "0")
    assert made["flags"] == "noisy|offload|other-process|power_limited"


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
from sizer.benchmark.save import append
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


REFUSED = {
    "columns": (b"a,b\n1,2\n", "other columns"),
    "semicolons": (";".join(COLUMNS).encode() + b"\n", "separated by semicolons"),
    "utf-16": (",".join(COLUMNS).encode("utf-16"), "not written in UTF-8"),
    "latin-1": (",".join(COLUMNS).encode() + b"\nM\xfcller\n", "not written in UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_file_is_checked_before_the_run(case: str, tmp_path: Path, run: Command):
    """A file that cannot take a row is refused in the first second, as a usage error, and left as it is."""
    content, words = REFUSED[case]
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInputFile, match=words):
        check(path)
    with fake_server() as server:
        done = run("bench", "--server", server.url, "--save", str(path))
        assert (done.code, server.bodies) == (2, [])
    assert words in done.err
    assert path.read_bytes() == content


def test_folder_is_checked_before_the_run(tmp_path: Path):
    """A folder that cannot be made (a file stands in its place) is told before the run; a new one leaves no trace."""
    (tmp_path / "file").touch()
    with pytest.raises(BenchmarkFailed, match="nothing was run"):
        check(tmp_path / "file" / "results.csv")
    check(tmp_path / "new" / "results.csv")
    assert list((tmp_path / "new").iterdir()) == []


def test_mark_and_line_ends_of_excel_stay(tmp_path: Path):
    """A file with a byte-order mark and CRLF is accepted and keeps both."""
    path = tmp_path / "results.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ",".join(COLUMNS).encode() + b"\r\n")
    check(path)
    append(path, ROW)
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbfid,")
    assert written.count(b"\r\n") == written.count(b"\n") == 2


def test_row_that_cannot_be_appended_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the file turned bad meanwhile, the row stands in a file of its own, and the message says where."""
    path = tmp_path / "results.csv"
    path.write_text("another,file\n", encoding="utf-8")
    result = Result(_measured(), None)
    with pytest.raises(InvalidInputFile, match="The row is kept in") as caught:
        save(path, result)
    (kept,) = [item for item in tmp_path.iterdir() if item.name != path.name]
    assert str(kept) in caught.value.hint
    assert _rows(kept) == [row_of(result)]
    assert path.read_text(encoding="utf-8") == "another,file\n"
    monkeypatch.setattr("sizer.benchmark.save.keep", lambda *_: None)
    with pytest.raises(InvalidInputFile, match="The row: sizer-bench-abc"):
        save(path, result)


def test_what_others_measured_stands_below_a_benchmark() -> None:
    """The nearest measured row of the same model, precision and device is named below the table, where there is one."""
    from sizer.answer.estimate import estimate
    from sizer.answer.question import Question
    from sizer.device.catalogue import find
    from sizer.model.read.resolve import resolve
    from sizer.report.bench import render
    from sizer.workload import Workload

    model = resolve("meta-llama/Meta-Llama-3-8B-Instruct", offline=True).architecture
    told = estimate(Question(model, find("rtx-4090"), "q4_k_m", Workload(), engine="llama.cpp"))
    assert "\u2713 q4_k_m:" in render(_measured(engine="llama.cpp", precision="q4_k_m"), told)
    unseen = estimate(Question(model, find("rtx-4090"), "q4_k_m", Workload(batch_size=4), engine="llama.cpp"))
    assert "\u2713" not in render(_measured(engine="llama.cpp", precision="q4_k_m", batch_size=4), unseen)


def test_control_characters_are_saved_escaped(tmp_path: Path):
    """A server's model name with a NUL and an escape is saved as text on one line: Python 3.10's csv takes no NUL."""
    path = tmp_path / "results.csv"
    append(path, {**ROW, "model": "a\x00b\x1b[31m\nc"})
    (read,) = _rows(path)
    assert read["model"] == "a\\u0000b\\u001b[31m\\nc"
