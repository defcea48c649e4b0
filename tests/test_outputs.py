"""Output formats: one registry, which every command asks."""

from __future__ import annotations

import csv
import io
import json

import pytest
from clirun import Run

from sizer.printable import one_line, printable
from sizer.report.layout import csv_table, text_table
from sizer.report.outputs import FORMATS, Document, listing, write

COMMANDS = [
    ("estimate", "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q4_k_m", "--offline"),
    ("recommend", "Qwen/Qwen3-8B", "-d", "rtx-4090", "--offline"),
    ("fit", "-d", "rtx-4060", "--family", "qwen3"),
    ("hardware", "Qwen/Qwen3-8B", "--device", "rtx", "--limit", "3", "--offline"),
    ("capacity", "Qwen/Qwen3-8B", "-d", "h100", "--users", "2", "--offline"),
    ("measured", "meta-llama/Llama-3.1-8B-Instruct"),
    ("devices", "rtx"),
    ("models", "qwen3"),
    ("precisions", "gguf"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_writes_every_format(run: Run, command: tuple[str, ...]) -> None:
    """Each format of the registry is offered and written; JSON and CSV parse, and CSV has rows of equal length."""
    for style in FORMATS:
        result = run(*command, "--format", style)
        assert result.code == 0, result.err
        assert result.out.strip()
    assert json.loads(run(*command, "--format", "json").out)
    rows = list(csv.reader(io.StringIO(run(*command, "--format", "csv").out)))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1


def test_a_new_format_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added to the registry can be written without another line."""
    monkeypatch.setitem(FORMATS, "count", lambda document: str(len(document.rows())))  # type: ignore[arg-type]
    assert write(listing([{"a": 1}, {"a": 2}], lambda row: row), "count") == "2"


def test_uneven_rows_are_written_under_the_union_of_their_columns() -> None:
    """A column that only some rows have is empty in the others."""
    assert csv_table([{"a": 1}, {"a": 2, "b": 3}]).splitlines() == ["a,b", "1,", "2,3"]


def test_cells_that_a_spreadsheet_would_run_are_quoted() -> None:
    """Formulas from outside get the usual apostrophe; numbers stay numbers."""
    cells = list(csv.reader(io.StringIO(csv_table([{"a": "=1+1", "b": "@x", "c": -3.5, "d": "-3.5", "e": "+cmd|x"}]))))
    assert cells[1] == ["'=1+1", "'@x", "-3.5", "-3.5", "'+cmd|x"]


def test_records_in_cells_are_json() -> None:
    """What holds records is JSON on one line, what holds texts is joined, of every command: no cell is Python's own
    way to write a value."""
    cells = list(csv.reader(io.StringIO(csv_table([{"a": [{"b": None}], "c": ("x", "y"), "d": [], "e": {"f": 1}}]))))
    assert cells[1] == ['[{"b":null}]', "x; y", "", '{"f":1}']


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_cell_is_a_repr(run: Run, command: tuple[str, ...]) -> None:
    """No CSV that a command writes has a cell like `{'device': ...}` or `('model',)`."""
    rows = csv.reader(io.StringIO(run(*command, "--format", "csv").out))
    assert [cell for row in rows for cell in row if cell[:2] in ("{'", "('", "['")] == []


def test_nothing_steers_the_terminal() -> None:
    """Escape sequences, overrides and lone surrogates are written out; a line stays a line, a password is masked."""
    assert printable("a\x1b[2Jb\u202ec\ud800") == "a\\u001b[2Jb\\u202ec\\ud800"
    assert one_line("a\nb") == "a\\nb"
    assert "secret" not in one_line("http://me:secret@host/v1 failed")
    assert "\x1b" not in text_table(("name",), [("\x1b[31mred",)])


def test_a_page_of_nothing_is_empty() -> None:
    """A listing without rows is written without a table."""
    nothing = listing([], lambda row: row)
    assert write(nothing, "table") == ""
    assert json.loads(write(nothing, "json")) == []
    assert isinstance(nothing, Document)


def test_figures_are_not_cut() -> None:
    """Where a table is too wide, names give way: neither a figure beside words of its column nor its unit is cut."""
    rows = [
        ("an-owner/" + "a-long-name-" * 6, "181 (139-225) \u2713", "chat"),
        ("b", "30.9 (13-60) texts/s", "embedding"),
    ]
    told = text_table(("model", "tok/s", "kind"), rows)
    assert max(map(len, told.splitlines())) <= 100
    assert all(row[1] in told for row in rows)
