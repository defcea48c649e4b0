"""The shell offers models and devices where they are asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMPLETE = "from sizer.cli import main; main()"


def offered(words: str) -> list[str]:
    """What bash is told for a line that ends where the cursor stands."""
    environment = {**os.environ, "_SIZER_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    run = subprocess.run([sys.executable, "-c", COMPLETE], capture_output=True, text=True, check=False, env=environment)
    return [line.partition(",")[2] for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("sizer estimate Qwen/Qwen3-8", "Qwen/Qwen3-8B"),
        ("sizer recommend qwen3-8", "Qwen/Qwen3-8B"),
        ("sizer estimate 8B --device rtx-409", "rtx-4090"),
        ("sizer fit -d 2xrtx-309", "2xrtx-3090"),
        ("sizer fit -d consumer", "consumer-cpu"),
        ("sizer fit -d aws:g5", "aws:g5.xlarge"),
        ("sizer insta", "installed"),
    ],
)
def test_names_are_offered(words: str, name: str) -> None:
    """A begun name is completed, with the count that stands before a device."""
    assert name in offered(words)
