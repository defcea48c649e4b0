"""A recipe for a version that is named is what that version takes."""

from __future__ import annotations

import re

import pytest

import sizer
from sizer.advise.older_commands import as_older
from sizer.engine.engines import engines
from sizer.tables import read_rows


@pytest.mark.parametrize(
    ("engine", "has", "has_not"),
    [
        ("vllm", "vllm serve ", "api_server"),
        ("vllm@0.5.5", "vllm serve ", "api_server"),
        ("vllm@0.4.3", "python -m vllm.entrypoints.openai.api_server --model meta-llama", "vllm serve"),
        ("transformers@4.50", "    torch_dtype=", "    dtype="),
        ("transformers", "    dtype=", "torch_dtype="),
        ("llama.cpp@b5000", "llama-server -hf ", "hf download"),
        ("llama.cpp@b4000", "llama-server -m ./*Q", " -hf "),
        ("llama.cpp@b2900", "./server -m ./*Q", "llama-server"),
    ],
)
def test_a_command_is_what_the_version_takes(engine: str, has: str, has_not: str) -> None:
    """Programs by their older names, arguments by their older words, files that no flag fetched yet."""
    device = "rtx-4090" if "llama.cpp" in engine else "h100"
    told = sizer.recommend("meta-llama/Meta-Llama-3-8B-Instruct", device=device, engine=engine, offline=True).command
    assert told is not None
    assert has in told
    assert has_not not in told


def test_older_words_are_of_engines_and_patterns() -> None:
    """Each row names an engine, has a pattern that can be, and leaves other text alone."""
    for row in read_rows("older_commands.csv"):
        assert row["engine"] in engines()
        assert row["source"]
        assert re.compile(row["pattern"])
        assert as_older("echo nothing\n", row["engine"], "0.0.1") == "echo nothing\n"
