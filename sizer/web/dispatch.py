"""From a query to an answer: the one path that the server and the browser's own Python share with the command line.

A query becomes the arguments of a command, the command runs as it does in a terminal, and its JSON is the answer. So
the page can show nothing that the command line would not print, to the digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import Token

import click

from sizer.cli.common import SINK
from sizer.errors import DoesNotFit, ModelError, SizerError, UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.model.read.resolve import FILES_ALLOWED
from sizer.plain_json import dumps
from sizer.web.parameters import (
    LONGEST_VALUE,
    MOST_PRECISIONS,
    MOST_VALUES,
    Parameter,
    available,
    command_of,
    parameters,
)

Query = Sequence[tuple[str, str]]

TRUE, FALSE = frozenset({"", "1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
STATUS_BY_EXIT = {0: 200, 2: 400, 3: 404, 4: 422}
"""The HTTP status of an answer by the exit code that the command line would give."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request may do: read this machine's files through MODEL, use the network."""

    files: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and the JSON that goes with it."""

    status: int
    body: str


STRICTEST = Rules()


def reply(name: str, query: Query, rules: Rules = STRICTEST) -> Reply:
    """The answer of one address of the API (`estimate`, `curves` …) to a query; errors are answers too."""
    token: Token[bool] = FILES_ALLOWED.set(rules.files)
    try:
        return _answers()[name](query, rules) if name in _answers() else _answer(name, query, rules)
    except SizerError as error:
        return refusal(STATUS_BY_EXIT.get(error.exit_code, 400), error.message, error.hint, error.exit_code)
    except click.ClickException as error:
        return refusal(400, error.format_message(), "", 2)
    except (OverflowError, RecursionError) as error:
        return refusal(400, f"the figures asked for cannot be computed: {error}.", "Ask for smaller ones.", 2)
    finally:
        FILES_ALLOWED.reset(token)


def refusal(status: int, message: str, hint: str = "", exit_code: int = 2) -> Reply:
    """An error as JSON: what was asked, what to ask next, and the exit code that the command would have."""
    error = {"message": message, "hint": hint, "exit_code": exit_code}
    return Reply(status, dumps({"schema_version": SCHEMA_VERSION, "error": error}))


def _answers() -> dict[str, Callable[[Query, Rules], Reply]]:
    """The addresses that are no command's JSON."""
    return {"explain": _explain, "curves": _curves}


def _answer(name: str, query: Query, rules: Rules) -> Reply:
    text, code = run(name, ["--json", *arguments(name, query, rules)])
    return Reply(200 if code == DoesNotFit.exit_code else STATUS_BY_EXIT.get(code, 200), text)


def _explain(query: Query, rules: Rules) -> Reply:
    """The arithmetic of one estimate in words, as `sizer estimate --explain` prints it."""
    text, _ = run("estimate", ["--explain", *arguments("estimate", query, rules)])
    return Reply(200, dumps({"schema_version": SCHEMA_VERSION, "explanation": text}))


def _curves(query: Query, rules: Rules) -> Reply:
    from sizer.web.curves import curves

    return Reply(200, dumps(curves(query, lambda asked: run_json("estimate", asked, rules))))


def run_json(name: str, query: Query, rules: Rules) -> str:
    """The JSON text of a command for a query. Raises what the command raises."""
    return run(name, ["--json", *arguments(name, query, rules)])[0]


def run(name: str, argv: list[str]) -> tuple[str, int]:
    """What a command prints on stdout, and its exit code. Raises what the command raises."""
    command = command_of(name)
    if command is None:
        raise UsageError(f"this version has no answer to {name!r}.", f"There are {', '.join(available())}.")
    code = 0
    printed: list[str] = []
    with command.make_context(name, argv) as ctx:
        ctx.meta[SINK] = printed
        try:
            command.invoke(ctx)
        except click.exceptions.Exit as stop:
            code = stop.exit_code
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except OSError as error:
            raise ModelError(f"a file could not be read: {error.strerror or error}.") from None
    return "\n".join(printed), code


def arguments(name: str, query: Query, rules: Rules) -> list[str]:
    """The command's arguments for a query, each value bound to its option so that none is read as another option.

    Raises UsageError for a parameter that the command lacks, one given too often or too long, and a missing one.
    """
    if command_of(name) is None:
        raise UsageError(f"this version has no answer to {name!r}.", f"There are {', '.join(available())}.")
    known = {item.name: item for item in parameters(name)}
    values: dict[str, list[str]] = {}
    for key, value in query:
        asked = key.replace("_", "-") if key.replace("_", "-") in known else key
        if asked not in known:
            hint = did_you_mean(key, known) or f"It takes {', '.join(known)}."
            raise UsageError(f"{name!r} takes no parameter {key[:60]!r}.", hint)
        values.setdefault(asked, []).append(_checked(asked, value))
    if rules.offline and "offline" in known:
        values["offline"] = ["true"]
    options = [text for key, given in values.items() for text in _options(known[key], given)]
    positional = [text for key, given in values.items() for text in _positional(known[key], given)]
    missing = [item.name for item in known.values() if item.required and not any(values.get(item.name, ()))]
    if missing:
        raise UsageError(f"{name!r} needs {missing[0]}=.", f"Add {missing[0]}=… to the query.")
    return [*options, "--", *positional]


def _checked(name: str, value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise UsageError(f"{name}= is longer than {LONGEST_VALUE} characters.", "Shorten it.")
    if any(ord(char) < 32 and char not in "\t\n\r" for char in value):
        raise UsageError(f"{name}= holds a control character.", "Leave it out.")
    return value


def _options(item: Parameter, given: list[str]) -> Iterable[str]:
    """`--precision=q4_k_m` for each value of an option; nothing of an argument."""
    if not item.option:
        return
    most = 1 if not item.repeats else MOST_PRECISIONS if item.name == "precision" else MOST_VALUES
    if len(given) > most:
        raise UsageError(f"{item.name}= is given {len(given)} times; {most} at most.", "Ask several times.")
    for value in given:
        if item.kind != "flag":
            yield f"{item.option}={value}"
        elif value.lower() in TRUE:
            yield item.option
        elif value.lower() not in FALSE:
            raise UsageError(f"{item.name}={value[:60]!r} is neither true nor false.", "Write true or false.")


def _positional(item: Parameter, given: list[str]) -> Iterable[str]:
    """The words of an argument; nothing of an option."""
    if item.option:
        return
    most = MOST_VALUES if item.repeats else 1
    if len(given) > most:
        raise UsageError(f"{item.name}= is given {len(given)} times; {most} at most.", "Ask several times.")
    for value in given:
        yield from value.split() if item.kind == "words" else (value,)
