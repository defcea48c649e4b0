"""Files that lie say the same through every door: command line, Python, a sweep's row, the page's API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from clirun import Run
from headerfiles import LLAMA, gguf_bytes, llama_tensors, mutate, safetensors_bytes
from hostile import HOSTILE, bases, paths, put

import sizer
from sizer.errors import ModelError, SizerError
from sizer.web.dispatch import Rules, reply

CASES = Path(__file__).parent / "data" / "hostile"
DEVICE = "rtx-4090"
GGUF = gguf_bytes(LLAMA, llama_tensors())
SAFETENSORS = safetensors_bytes({"model.embed_tokens.weight": ("BF16", (10, 8)), "lm_head.weight": ("F8_E4M3", (4, 8))})


def _config(draw: Random) -> bytes:
    """A family's config with one to three fields that no model has."""
    _, fields = draw.choice(bases())
    for _ in range(draw.randint(1, 3)):
        fields = put(fields, draw.choice(list(paths(fields))), draw.choice(HOSTILE))
    return json.dumps(fields).encode()


MADE: dict[str, tuple[str, Callable[[Random], bytes]]] = {
    "config": ("config.json", _config),
    "gguf": ("model.gguf", lambda draw: mutate(GGUF, draw)),
    "safetensors": ("model.safetensors", lambda draw: mutate(SAFETENSORS, draw)),
}


def _said(call: Callable[[], object]) -> str:
    """The message of a refusal; empty where there is an answer."""
    try:
        call()
    except SizerError as error:
        return error.message if error.exit_code == ModelError.exit_code else f"exit code {error.exit_code}"
    return ""


def _through_every_door(run: Run, folder: Path, path: Path) -> bool:
    """Whether a model's file was answered; each door must say what the others say, in one line."""
    said = _said(lambda: sizer.estimate(str(path), device=DEVICE, precision="bf16", offline=True))
    typed = run("estimate", str(path), "-d", DEVICE, "-p", "bf16", "--offline")
    assert typed.code == (3 if said else 0), typed.err
    assert "Traceback" not in typed.err + typed.out
    if said:
        assert typed.out == ""
        assert typed.err.count("\n") == 1
        assert re.sub(r"\W", "", said)[:80] in re.sub(r"\W", "", typed.err)
    rows = folder / "rows.jsonl"
    row = {"model": str(path), "device": DEVICE, "precision": "bf16", "engine": "transformers"}
    rows.write_text(json.dumps(row), encoding="utf-8")
    (swept,) = json.loads(run("sweep", str(rows), "--json").out)
    assert bool(swept["reason"]) is bool(said)
    assert (swept["predicted_decode_tokens_per_s"] is None) is bool(said)
    query = [("model", str(path)), ("device", DEVICE), ("precision", "bf16")]
    answered = reply("estimate", query, Rules(files=True, offline=True))
    assert answered.status == (404 if said else 200)
    if said:
        assert json.loads(answered.body)["error"]["message"] == said
        assert swept["reason"] == said
    assert reply("estimate", query, Rules(offline=True)).status == 404  # others' questions read no file
    return not said


@pytest.mark.parametrize("path", sorted(CASES.iterdir()), ids=lambda path: path.name)
def test_files_that_once_came_through(run: Run, tmp_path: Path, path: Path) -> None:
    """Lists where numbers belong, 10^8 layers, a name that is there twice, a GGUF of a vocabulary alone: refused."""
    assert not _through_every_door(run, tmp_path, path)


@pytest.mark.parametrize("kind", MADE)
def test_fifty_more_of_each_kind(run: Run, tmp_path: Path, kind: str) -> None:
    """Fifty seeded lies of each kind: none is a traceback, and the doors agree on each; not all are refused alike."""
    name, make = MADE[kind]
    answered = 0
    for seed in range(50):
        path = tmp_path / str(seed) / name
        path.parent.mkdir()
        path.write_bytes(make(Random(f"{kind} {seed}")))
        answered += _through_every_door(run, tmp_path, path)
    assert answered < 50
