"""The inputs that a long fuzz kept (`tools/fuzz.py`), and those that broke something: read, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import KINDS, run

CORPUS = Path(__file__).parent / "data" / "fuzz"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gguf"])
def test_the_corpus_of_a_kind_is_read_or_refused(kind: str) -> None:
    """No input raises anything but a SizerError of one line; some of each kind are read, and some refused."""
    inputs = [path for path in INPUTS if path.parent.name.removesuffix("-fixed") == kind]
    found = [run(kind, path.read_bytes()) for path in inputs]
    assert True in found
    assert False in found


def test_the_corpus_is_small() -> None:
    """It is a sample: half a megabyte at the most."""
    assert sum(path.stat().st_size for path in INPUTS) < 500_000
