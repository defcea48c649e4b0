"""What the documents tell people to type works as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from clirun import Run

from sizer.cli import cli

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


@pytest.mark.parametrize("words", commands(DOCS / "index.md", r"^(sizer .*)$"), ids=" ".join)
def test_the_commands_by_task_are_understood(words: list[str]) -> None:
    """Each command of the page by task is one that the command line takes: its name, options and their values."""
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None, words
    context = command.make_context(words[1], words[2:])
    assert not context.args


@pytest.mark.parametrize("words", commands(DOCS / "index.md", r"^(sizer (?:sweep|validate) [^-\n]*)$"), ids=" ".join)
def test_the_examples_of_files_are_answered(run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """The files that the page shows are there, as shown; a row with a typo costs itself alone."""
    monkeypatch.chdir(ROOT)
    answer = run(*words[1:])
    assert answer.code == 0
    if words[1] == "sweep":
        assert "row-4: unknown device 'Foo 9'" in answer.out
        shown = (DOCS / "index.md").read_text(encoding="utf-8")
        assert (DOCS / "examples" / "cases.csv").read_text(encoding="utf-8") in shown
    else:
        assert "6 of 6 rows scored" in answer.out


def test_the_pages_link_to_pages_that_are_there() -> None:
    """Every relative link of the README and the documents leads to a file."""
    for page in (ROOT / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
