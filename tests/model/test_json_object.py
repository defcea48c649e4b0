"""JSON from outside: what readers would take differently is refused, with the reason in a few words."""

from __future__ import annotations

from pathlib import Path

import pytest
from clirun import Run

from sizer.model.read.json_object import MAX_DIGITS, loads

LLAMA = (
    '"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 256, '
    '"intermediate_size": 128'
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "'b' is there twice"),
        ('{"a": 1' + "0" * MAX_DIGITS + "}", "401 digits"),
        ('{"a": ["\\ud800x"]}', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        ("[1]", "no JSON object"),
        ('{"a": ', "no JSON: "),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_what_lies_is_refused(text: str, reason: str) -> None:
    """Names that are there twice, numbers without end, half characters, other things than objects."""
    with pytest.raises(ValueError, match=reason) as refused:
        loads(text.encode())
    assert len(str(refused.value)) < 200
    assert str(refused.value).isprintable()


def test_other_encodings_are_refused() -> None:
    """JSON is UTF-8: a file in Latin-1 is refused by that name."""
    with pytest.raises(ValueError, match="not UTF-8"):
        loads('{"a": "ä"}'.encode("latin-1"))


def test_what_configs_have_is_read() -> None:
    """A byte order mark, `Infinity` and whole characters written as two escapes; a strict reader takes no constant."""
    text = '\ufeff{"time_step_limit": [0.0, Infinity], "smile": "\\ud83d\\ude00"}'
    assert loads(text.encode()) == {"time_step_limit": [0.0, float("inf")], "smile": "\N{GRINNING FACE}"}
    with pytest.raises(ValueError, match="Infinity is no JSON"):
        loads(b'{"a": Infinity}', strict=True)


@pytest.mark.parametrize(
    "more", ['"hidden_size": 128', '"architectures": ["\\ud800x"]', '"vocab_size": 1' + "0" * 400], ids=str.split
)
def test_a_config_that_lies_ends_in_one_line(run: Run, tmp_path: Path, more: str) -> None:
    """The command names the file and the fault, with exit code 3 and no traceback."""
    path = tmp_path / "config.json"
    path.write_text(f"{{{LLAMA}}}", encoding="utf-8")
    assert run("estimate", str(path), "-d", "rtx-4090", "--offline").code == 0
    path.write_text(f"{{{LLAMA}, {more}}}", encoding="utf-8")
    result = run("estimate", str(path), "-d", "rtx-4090", "--offline")
    assert result.code == 3
    assert result.err.startswith("sizer: ")
    assert len(result.err.splitlines()) == 1
