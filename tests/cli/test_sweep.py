"""What `sizer sweep` says of a file's columns."""

from __future__ import annotations

import json
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


def test_half_a_device_or_sequence_is_no_row(run: Run, tmp_path: Path) -> None:
    """2.5 cards are not told as two; 2.0 are two."""
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEAD},device_count,batch\n{CASE},2.5,1\n{CASE},1,1.5\n{CASE},2.0,1\n", encoding="utf-8")
    rows = json.loads(run("sweep", str(path), "--offline", "--json").out)
    assert [row["reason"] for row in rows] == [
        "device_count is '2.5', no whole number.", "batch is '1.5', no whole number.", "",
    ]  # fmt: skip


def test_a_width_alone_is_the_usual_format_of_the_engine(run: Run, tmp_path: Path) -> None:
    """`4-bit` of MLX is mlx-4bit, of llama.cpp q4_k_m; without an engine, or no width, an error names it."""
    path = tmp_path / "cases.csv"
    cases = [("4-bit", "mlx-lm"), ("8bit", "MLX"), ("Q4", "llama.cpp"), ("4-bit", ""), ("q4_k_x", "llama.cpp")]
    lines = "".join(f"Qwen/Qwen3-8B,{'m4-max' if engine[:1].lower() == 'm' else 'rtx-4090'},{precision},{engine}\n"
                    for precision, engine in cases)  # fmt: skip
    path.write_text(f"{HEAD}\n{lines}", encoding="utf-8")
    rows = json.loads(run("sweep", str(path), "--offline", "--json").out)
    assert [row["resolved_precision"] for row in rows] == ["mlx-4bit", "mlx-8bit", "q4_k_m", None, None]
    assert "names no one format" in rows[3]["reason"]
    assert "q4_k_x" in rows[4]["reason"]
