"""What `sizer sweep` says of a file's columns."""

from __future__ import annotations

from pathlib import Path

from clirun import Run

HEAD = "model,device,precision,engine"
CASE = "Qwen/Qwen3-8B,rtx-4090,q4_k_m,llama.cpp"


def test_a_column_named_as_an_option_that_rows_call_otherwise_is_said(run: Run, tmp_path: Path) -> None:
    """`prompt` is an option of `estimate`, rows are read by `prompt_tokens`: without a word no prefill is predicted."""
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEAD},prompt,KV-precision,note\n{CASE},512,q8_0,the desk\n", encoding="utf-8")
    answer = run("sweep", str(path), "--offline")
    assert answer.code == 0
    assert "the column 'prompt' is not read: prompt_tokens is." in answer.err
    assert "the column 'KV-precision' is not read: `sizer estimate` takes it as an option." in answer.err
    assert "note" not in answer.err


def test_of_columns_that_rows_are_read_by_nothing_is_said(run: Run, tmp_path: Path) -> None:
    """A file that has `prompt_tokens` may keep a `prompt` of its own, and `batch` is read as it stands."""
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEAD},prompt,prompt_tokens,batch\n{CASE},a joke,512,2\n", encoding="utf-8")
    answer = run("sweep", str(path), "--offline")
    assert answer.code == 0
    assert "not read" not in answer.err
