"""Tables of rows are read and written as they come, and a row that cannot be is one line, whatever its cells hold."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from clirun import Run
from effort import calls_of
from fifos import needs_pipes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sizer.calibrate import row_files
from sizer.calibrate.measurements import measurement, read_measurements, stream_measurements
from sizer.calibrate.predictions import predict_rows
from sizer.calibrate.row_files import open_rows
from sizer.errors import InvalidInputFile
from sizer.report.layout import cells_of
from sizer.report.outputs import FORMATS, Document, Stream, write, write_stream
from sizer.tables import data_path

ROW = {
    "id": "a-1",
    "model": "Qwen/Qwen3-8B",
    "device": "rtx-4090",
    "precision": "q4_k_m",
    "engine": "llama.cpp",
    "prompt_tokens": 512,
    "decode_tokens_per_s": 130.0,
}


def _lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_uneven_rows_are_written_under_the_union_of_their_columns(run: Run, tmp_path: Path) -> None:
    """JSON Lines whose rows have other keys become a CSV with every column, in the order of their first row."""
    path = _lines(tmp_path / "rows.jsonl", ROW, {**ROW, "mine": 7}, {**ROW, "yours": "=1+1"})
    result = run("sweep", str(path), "--format", "csv")
    assert result.code == 0
    first, second, third = csv.DictReader(io.StringIO(result.out))
    assert (first["mine"], second["mine"], third["yours"]) == ("", "7", "'=1+1")
    assert all(float(row["predicted_decode_tokens_per_s"]) > 0 for row in (first, second, third))


@pytest.mark.parametrize("style", FORMATS)
def test_pieces_are_what_the_whole_would_be(style: str) -> None:
    """A stream joined by newlines is what the registry writes of all rows at once, of none and of one too."""
    for count in (0, 1, 3):
        rows: list[Mapping[str, Any]] = [{"a": number, "b": f"x\n{number}"} for number in range(count)]
        whole = Document(lambda rows=rows: rows, lambda rows=rows: rows, lambda lay, rows=rows: cells_of(rows, lay))
        pieces = write_stream(Stream(("a", "b"), ((row, row) for row in rows)), style)
        written = "\n".join(pieces)
        assert written == write(whole, style) or (count == 0 and style == "csv" and written == "a,b")


def test_rows_come_before_the_last_is_read() -> None:
    """The first piece of a CSV row is there when one row was taken."""
    taken: list[int] = []

    def rows() -> Iterator[tuple[dict[str, int], dict[str, int]]]:
        for number in range(10):
            taken.append(number)
            yield {"a": number}, {"a": number}

    pieces = write_stream(Stream(("a",), rows()), "csv")
    assert [next(pieces), next(pieces)] == ["a", "0"]
    assert taken == [0]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str) -> None:
    """Ten times the rows, in lines or in one array, need no more memory to read, predict and write."""
    peaks = []
    for count in (300, 3000):
        rows = [{**ROW, "id": f"a-{number}"} for number in range(count)]
        path = tmp_path / f"{count}.{kind}"
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)), encoding="utf-8")
        list(predict_rows(read_measurements(path)[:1], with_flagged=True))
        tracemalloc.start()
        for _ in predict_rows(stream_measurements(open_rows(path)), with_flagged=True):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + 400_000


ODD = {"a": 'é"[]{},\\', "b": {"c": [1, {"d": []}]}, "e": 1.5}
ROWS = st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=9) | st.just(ODD), max_size=3))


@given(rows=ROWS, indent=st.sampled_from([None, 0, 3]), piece=st.integers(1, 50))
@example(rows=[ODD, {}, ODD], indent=None, piece=1)
@settings(deadline=None)
def test_an_array_is_read_as_json_reads_it(rows: list[dict[str, Any]], indent: int | None, piece: int) -> None:
    """In pieces of whatever length, with whatever in its texts, the values are those of the standard library."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "PIECE_CHARACTERS", piece)
        path = Path(folder) / "rows.json"
        path.write_text(f" {json.dumps(rows, indent=indent)}\n", encoding="utf-8")
        found = open_rows(path)
        assert list(found.rows()) == rows
    assert (found.count, set(found.columns)) == (len(rows), {name for row in rows for name in row})


@pytest.mark.parametrize(
    "text", ["[", "[{}", "[{},]", "[,{}]", "[{}]]", "[{}] x", "[{} {}]", '[{"a": }]', '[{"a": 1}, 7]', "[" * 100_000]
)
def test_a_broken_array_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    """Whatever is missing or too much, the file is named and nothing is predicted."""
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputFile, match=r"rows\.json") as refused:
        open_rows(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("style", FORMATS)
def test_a_header_alone_is_a_table_without_rows(run: Run, tmp_path: Path, style: str) -> None:
    """Its own columns and the predicted ones head the CSV; stderr says in a line that there are no rows."""
    path = tmp_path / "rows.csv"
    path.write_text("model,device,mine\n", encoding="utf-8")
    result = run("sweep", str(path), "--format", style)
    assert (result.code, result.err) == (0, f"sizer: '{path}' has no rows.\n")
    if style == "csv":
        assert result.out.startswith("model,device,mine,resolved_model,")
        assert result.out.count("\n") == 1
    if style == "json":
        assert json.loads(result.out) == []


def test_reasons_stand_whole_below_the_table(run: Run, tmp_path: Path) -> None:
    """A reason is told once for all its rows, in whole words, on lines that fit a terminal."""
    rows = [{**ROW, "id": f"odd-{number}", "precision": "q4_k_x"} for number in range(5)]
    path = _lines(tmp_path / "rows.jsonl", ROW, *rows, {**ROW, "id": "b", "device": "Nobody's card of 2031"})
    out = run("sweep", str(path)).out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert out.count("odd-0, odd-1, odd-2 and 2 more: ") == 1
    reason = json.loads(run("sweep", str(path), "--json").out)[-1]["reason"]
    assert " ".join(reason.split()) in " ".join(out.split())
    assert reason in run("sweep", str(path), "--format", "markdown").out


def test_repeated_pairs_are_not_worked_out_again() -> None:
    """Rows of one pair take a hundredth of the calls of the first, and each keeps its own name and figures."""
    rows = [measurement({**ROW, "id": f"a-{number}", "decode_tokens_per_s": number}) for number in range(1, 2001)]
    other = measurement({**ROW, "id": "b-1", "context_tokens": 777, "decode_tokens_per_s": 5})
    list(predict_rows(rows[:1], with_flagged=True))
    alone = calls_of(lambda: list(predict_rows([other], with_flagged=True)))
    assert calls_of(lambda: list(predict_rows(rows, with_flagged=True))) < len(rows) * alone / 20
    found = list(predict_rows(rows, with_flagged=True))
    assert [one.predictions[0].measured for one in found] == list(range(1, 2001))
    assert {one.predictions[0].predicted for one in found} == {found[0].predictions[0].predicted}
    assert all(one.resolved and one.resolved.measurement is row for one, row in zip(found, rows, strict=True))


@pytest.mark.parametrize("column", ["precision", "device", "batch", "prompt_tokens", "engine_flags", "context_tokens"])
def test_what_a_prediction_depends_on_is_never_taken_from_another_row(column: str) -> None:
    """Rows that differ in one cell are predicted as each is alone."""
    other = {
        "precision": "q8_0",
        "device": "2xrtx-3090",
        "batch": 8,
        "prompt_tokens": 4096,
        "engine_flags": "-ctk q8_0 -ctv q8_0",
        "context_tokens": 16384,
    }[column]
    rows = [measurement(ROW), measurement({**ROW, column: other})]
    together = [row.predictions for row in predict_rows(rows, with_flagged=True)]
    assert together == [next(predict_rows([row], with_flagged=True)).predictions for row in rows]
    assert together[0] != together[1]


HOSTILE = {
    "a lone surrogate": ('"model": "Qwen\\ud800/x"', "model"),
    "400 digits": ('"prompt_tokens": ' + "9" * 400, "prompt_tokens"),
    "5,000 digits": ('"prompt_tokens": ' + "9" * 5000, "prompt_tokens"),
    "NaN": ('"decode_tokens_per_s": NaN', "decode_tokens_per_s"),
    "Infinity": ('"memory_gib": Infinity', "memory_gib"),
    "a list": ('"batch": [1, 2]', "batch"),
    "a denormal": ('"decode_tokens_per_s": 1e-320', "decode_tokens_per_s"),
    "a huge memory": ('"memory_gib": 1e300', "memory_gib"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_cells_skip_their_row_alone(run: Run, tmp_path: Path, kind: str) -> None:
    """The reason names the column on one line, the next row is predicted, and no figure of the summary is nan."""
    cell, column = HOSTILE[kind]
    path = tmp_path / "rows.jsonl"
    bad = json.dumps({key: value for key, value in ROW.items() if key != column})[:-1] + f", {cell}}}"
    path.write_text(bad + "\n" + json.dumps(ROW) + "\n", encoding="utf-8")
    swept = run("sweep", str(path), "--json")
    assert (swept.code, swept.err) == (0, "")
    first, second = json.loads(swept.out)
    assert first["reason"].startswith(column)
    assert first["predicted_decode_tokens_per_s"] is None
    assert "\n" not in first["reason"]
    assert second["predicted_decode_tokens_per_s"] > 0
    for style in ("csv", "table", "markdown"):
        assert run("sweep", str(path), "--format", style).code == 0
    told = run("validate", str(path))
    assert told.code == 0
    assert not re.search(r"\bnan ?%", told.out.casefold())
    assert json.loads(run("validate", str(path), "--json").out)["scored"] == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"model": "a"}\n{"model": \n', "line 2"),
        ('{"a": ' + "[" * 500 + "]" * 500 + "}", "deep"),
        ("{" + ",".join(f'"c{number}": 1' for number in range(5000)) + "}", "columns"),
        ('{"a": "' + "x" * 2**20 + '"}', "1 MiB"),
    ],
)
def test_a_file_that_is_refused_says_where(tmp_path: Path, text: str, named: str) -> None:
    """Broken lines, cells without end and thousands of columns are refused before anything is predicted."""
    path = tmp_path / "rows.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputFile, match=named):
        open_rows(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev")
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """`| head -1` gets its line; the sweep ends with 0 and says nothing."""
    path = _lines(tmp_path / "rows.jsonl", *({**ROW, "id": f"a-{number}"} for number in range(5000)))
    command = [sys.executable, "-m", "sizer", "sweep", str(path), "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout is not None
        assert sweep.stdout.readline().startswith("id,model")
        sweep.stdout.close()
        assert sweep.stderr is not None
        assert sweep.stderr.read() == ""
        assert sweep.wait(60) == 0


@needs_pipes
@pytest.mark.parametrize("command", ["sweep", "validate", "calibrate", "calibrate-serving", "estimate"])
@pytest.mark.parametrize("kind", ["a device", "a link to a device", "a FIFO", "a link to a FIFO"])
def test_what_is_no_regular_file_is_refused_at_once(run: Run, tmp_path: Path, command: str, kind: str) -> None:
    """Nothing that never ends, or that waits for a writer, is opened: one line names it."""
    path = tmp_path / "rows.csv"
    os.mkfifo(tmp_path / "pipe")
    target = Path("/dev/zero") if "device" in kind else tmp_path / "pipe"
    if "link" in kind:
        path.symlink_to(target)
    else:
        path = target
    arguments = {
        "calibrate-serving": ["calibrate", str(data_path("measurements.csv")), "--serving", str(path)],
        "estimate": ["estimate", str(path), "-d", "a100"],
    }.get(command, [command, str(path)])
    result = run(*arguments)
    assert result.code == (3 if command == "estimate" else 2)
    assert result.err.count("\n") == 1
    assert str(path) in result.err
