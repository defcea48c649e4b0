"""What the documents tell people to type works as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from clirun import Run

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def commands(path: Path, pattern: str) -> list[list[str]]:
    """The words of each sizer command that a file shows."""
    return [shlex.split(match) for match in re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("words", commands(DOCS / "guard.yml", r"run: (sizer .*)$"))
def test_the_guard_passes_what_fits(run: Run, words: list[str]) -> None:
    """The action's command starts as written, and is refused with exit code 4 where its context is too long."""
    assert run(*words[1:]).code == 0
    longer = [{"16384": "10000000"}.get(word, word) for word in words[1:]]
    assert run(*longer).code == 4


def test_the_names_are_the_packages() -> None:
    """Wherever the documents install the package, it is by the name that it has."""
    name = re.search(r'^name = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert name is not None
    for path in (*DOCS.glob("*.md"), ROOT / "Dockerfile", ROOT / "README.md"):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for told in re.findall(r"(?:pip install|pipx install|uvx --from) '?([a-z][\w-]*)", text):
            assert told == name[1], f"{path.name}: {told}"
