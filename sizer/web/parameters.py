"""What each address of the API takes: the options of its command, read from the command itself."""

from __future__ import annotations

from functools import lru_cache

import click

from sizer.cli import cli
from sizer.frozen import dataclass

COMMANDS = ("estimate", "recommend", "fit", "hardware", "capacity", "check", "models", "devices", "precisions")
"""The commands that the API answers for; one that this version lacks is not listed."""

NOT_ASKED = frozenset({"json", "style", "emit", "explain", "help", "show_default", "plot", "plot_kinds"})
"""Options about the form of the output or about files: the API's form is JSON, and it writes nothing."""

MOST_VALUES = 4
"""How many models or devices one request may compare."""
MOST_PRECISIONS, LONGEST_VALUE = 32, 1000
"""Precisions of one question, and characters of one value."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter: `name` as asked, `option` as the command line writes it (empty: an argument).

    `kind` is flag, integer, number, text or words (parted at spaces).
    """

    name: str
    option: str
    kind: str
    required: bool
    repeats: bool
    choices: tuple[str, ...]
    default: str | int | float | None
    about: str


def command_of(name: str) -> click.Command | None:
    """The click command of a name of `COMMANDS`; None where this version has none."""
    return cli.get_command(click.Context(cli), name) if name in COMMANDS else None


def available() -> tuple[str, ...]:
    """The names of `COMMANDS` that this version has."""
    return tuple(name for name in COMMANDS if command_of(name) is not None)


@lru_cache(maxsize=len(COMMANDS))
def parameters(name: str) -> tuple[Parameter, ...]:
    """The query parameters of a command."""
    command = command_of(name)
    if command is None:
        return ()
    asked = (item for item in command.params if item.name not in NOT_ASKED and not isinstance(item.type, click.Path))
    return tuple(_parameter(item, name) for item in asked)


def _parameter(item: click.Parameter, command: str) -> Parameter:
    argument = isinstance(item, click.Argument)
    longest = max(item.opts, key=len)
    about = "" if argument else str(getattr(item, "help", "") or "")
    return Parameter(
        name=_argument_name(item.name or "", command) if argument else longest.removeprefix("--"),
        option="" if argument else longest,
        kind=_kind(item, command),
        required=item.required,
        repeats=item.multiple or (argument and item.nargs == -1 and command == "estimate"),
        choices=tuple(map(str, item.type.choices)) if isinstance(item.type, click.Choice) else (),
        default=_default(item),
        about=about or f"The command's argument {item.name}.",
    )


def _argument_name(name: str, command: str) -> str:
    """`model` for the models of `estimate`, `command` for the command line that `check` reads."""
    if command == "check":
        return "command"
    return "model" if name == "models" else name


def _kind(item: click.Parameter, command: str) -> str:
    if getattr(item, "is_flag", False):
        return "flag"
    if isinstance(item.type, click.types.IntParamType):
        return "integer"
    if isinstance(item.type, click.types.FloatParamType):
        return "number"
    if not isinstance(item, click.Argument) or item.nargs != -1 or command == "estimate":
        return "text"
    return "text" if command == "check" else "words"


def _default(item: click.Parameter) -> str | int | float | None:
    default = item.default
    return default if isinstance(default, (str, int, float)) and not isinstance(default, bool) else None
