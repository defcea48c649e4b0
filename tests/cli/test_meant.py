"""What is typed by somebody who knows another tool: the error says what sizer calls it."""

from __future__ import annotations

import json
import re

import pytest
from clirun import Run

from sizer.cli import COMMANDS, meant


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["Qwen/Qwen3-8B"], "'sizer estimate Qwen/Qwen3-8B'"),
        (["llama3.1:8b"], "'sizer estimate llama3.1:8b'"),
        (["8B", "-d", "rtx-4090"], "'sizer estimate 8B'"),
        (["./x.gguf"], "'sizer estimate ./x.gguf'"),
        (["help"], "'sizer --help'"),
        (["run", "llama3"], "'sizer recommend MODEL'"),
        (["Cost"], "'sizer capacity MODEL"),
        (["fine-tune"], "inference alone"),
        (["estimat"], "Did you mean 'estimate'"),
        (["xyzzy"], "'sizer --help' lists"),
    ],
)
def test_a_command_that_is_none_is_told_what_is(run: Run, words: list[str], told: str) -> None:
    """One line, exit code 2: a model alone is estimated, another tool's word has sizer's own beside it, a misspelt
    command its nearest, and what nobody means the list."""
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "bench"])
def test_a_missing_argument_has_an_example(run: Run, command: str) -> None:
    """Where an argument must be given, one line names it and shows an example that the command's own parser takes; a
    missing model also says where models are found."""
    import click

    from sizer.cli import cli

    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    needed = [param for param in found.params if isinstance(param, click.Argument) and param.required]
    if not needed:
        return
    result = run(command)
    assert (result.code, result.out, len(result.err.strip().splitlines())) == (2, "", 1)
    example = re.search(rf"For example: 'sizer {command} ([^']+)'", result.err)
    assert example is not None
    found.make_context(command, example[1].partition(" >")[0].split())
    assert ("'sizer fit --device D'" in result.err) is (needed[0].name in ("model", "models"))


def test_what_is_offered_exists() -> None:
    """Every command that a hint names is one of sizer's, no word is told twice, none is a command itself."""
    words = [word for group in meant.COMMANDS for word in group.split()]
    assert len(words) == len(set(words))
    assert not set(words) & set(COMMANDS)
    named = {match for hint in meant.COMMANDS.values() for match in re.findall(r"'sizer ([a-z]+)", hint)}
    assert named <= set(COMMANDS)


def test_a_search_lists_the_names_that_it_found(run: Run) -> None:
    """A model whose shape stands in the catalogue under another's name is listed by its own, with what it is like; each
    listed name or architecture has the words that were searched."""
    rows = json.loads(run("models", "glm-4.5-air", "--json").out)
    shapes = {row["model"]: row["shape_of"] for row in rows}
    assert shapes["zai-org/GLM-4.5-Air"] == "PrimeIntellect/INTELLECT-3-Base"
    for words in ("kimi", "glm-4.5-air", "llama 3.3"):
        for row in json.loads(run("models", *words.split(), "--json").out):
            assert all(word in f"{row['model']} {row['architecture']}".lower() for word in words.split())
    everything = json.loads(run("models", "--json").out)
    assert all(row["shape_of"] is None for row in everything)
