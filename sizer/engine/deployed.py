"""Commands that let a cloud or a cluster start a container: each becomes `docker run`, or what a chart's values start.

`gcloud run deploy`, `kubectl run`, `oc run`, `az container create`, `docker service create`; `helm install --set`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise, takewhile
from typing import Any

from sizer.engine.documents import commands_of
from sizer.engine.started import split_words
from sizer.errors import UsageError

DEPLOYERS = {
    ("gcloud", "run", "deploy"): ",",
    ("gcloud", "beta", "run", "deploy"): ",",
    ("gcloud", "alpha", "run", "deploy"): ",",
    ("kubectl", "run"): "",
    ("oc", "run"): "",
    ("az", "container", "create"): " ",
}
"""How each begins, and what stands between the entries of its lists (empty: it has none)."""
IMAGE = "--image"
ENTRY = ("--command", "--command-line")
ARGUMENTS = ("--args",)
VARIABLES = ("--set-env-vars", "--update-env-vars", "--env-vars", "--env", "--environment-variables", "-e")
CHART_COMMANDS = frozenset({"install", "upgrade", "template"})
MOST_STEPS = 20
"""Of a path into a chart's values."""
MOST_PLACES = 100
"""Of a list in them."""
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def deployed(words: Sequence[str]) -> list[str]:
    """The same as `docker run OPTIONS IMAGE ARGS`; empty for any other command. Raises UsageError without an image."""
    if tuple(words[:3]) == ("docker", "service", "create"):
        return ["docker", "run", *words[3:]]
    start = next((start for start in DEPLOYERS if tuple(words[: len(start)]) == start), None)
    if start is None:
        return []
    own, behind = _halves(words[len(start) :])
    between = DEPLOYERS[start]
    image = "".join(_values(own, {IMAGE}, "")[-1:])
    if not image:
        raise UsageError(
            f"{' '.join(start)!r} names no image.", "Give the whole command: --image IMAGE, its arguments."
        )
    entry = _values(own, ENTRY, between) if between else []
    if not between and "--command" in own:  # kubectl: what stands behind -- is the entry, not its arguments
        entry, behind = behind, []
    variables = _values(own, VARIABLES, between)
    words = ["docker", "run", *(word for pair in variables for word in ("-e", pair))]
    words += ["--entrypoint", entry[0]] if entry else []
    return [*words, image, *entry[1:], *_values(own, ARGUMENTS, between), *behind]


def _halves(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before and behind `--`."""
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def _values(words: Sequence[str], names: Collection[str], between: str) -> list[str]:
    """The entries of the values of some options, `--name=value` or `--name value`, in order."""
    found: list[str] = []
    for index, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name not in names:
            continue
        found += _entries(value if sign else "".join(words[index + 1 : index + 2]), between)
        following = words[index + 2 :] if between == " " and not sign else []
        found += takewhile(lambda word: not word.startswith("-"), following)
    return found


def _entries(text: str, between: str) -> list[str]:
    """A value's entries: between commas, or what `^:^` before them says (gcloud topic escaping); a shell's words."""
    if between == " ":
        return split_words(text)
    if between and (own := re.match(r"\^([^^]+)\^", text)):
        return text[own.end() :].split(own[1])
    return text.split(between) if between and text else [text] if text else []


def charted(words: Sequence[str], read: Callable[[str], str | None]) -> list[str] | None:
    """The commands that a chart starts with the values of `helm install`, by files and --set; None for other commands.

    `read` gives a file's text. Raises UsageError for values that cannot be read.
    """
    if words[:1] != ["helm"] or not CHART_COMMANDS & set(words[1:4]):
        return None
    from sizer.engine.yaml_text import read_yaml

    values: dict[str, Any] = {}
    for file in _values(words, {"-f", "--values"}, ""):
        text = read(file)
        if text is None:
            raise UsageError(f"{file!r:.200}, the chart's values, is not there.", "Paste its text before the command.")
        for document in read_yaml(text, plain=True):
            _merge(values, document)
    for flag in ("--set", "--set-string"):
        for text in _values(words, {flag}, ""):
            for path, value in _settings(text):
                _put(values, path, value)
    for text in _values(words, {"--set-json"}, ""):
        path, _, value = text.partition("=")
        for document in read_yaml(value, plain=True):
            _put(values, path, document)
    return commands_of(values)


def _settings(text: str) -> Iterator[tuple[str, Any]]:
    """`a.b=1,c[0]=2,d={x,y}` of --set: paths and their values, a comma behind a backslash being part of a value."""
    for part in re.split(r"(?<!\\),(?![^{]*\})", text):
        path, sign, value = part.partition("=")
        if not sign:
            raise UsageError(f"{part!r:.80} is no setting.", "Write it as path.to.value=TEXT.")
        value = value.replace("\\,", ",")
        yield path, value[1:-1].split(",") if value[:1] == "{" and value[-1:] == "}" else value


def _put(values: Any, path: str, value: Any) -> None:
    """Sets the value at `a.b[0].c`, making what is not there. Raises UsageError for a path too long or too far."""
    steps: list[str | int] = [int(place) if place else name for name, place in _STEP.findall(path.replace("\\.", "\0"))]
    steps = [step.replace("\0", ".") if isinstance(step, str) else step for step in steps]
    places = [step for step in steps if isinstance(step, int)]
    if not 0 < len(steps) <= MOST_STEPS or max(places, default=0) > MOST_PLACES or isinstance(steps[0], int):
        raise UsageError(f"{path!r:.80} is no path of a chart's values.", "Write it as path.to[0].value.")
    for step, following in pairwise([*steps, None]):
        inner = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(step, int):
            values += [{} for _ in range(step + 1 - len(values))]
        held = values.get(step) if isinstance(values, dict) else values[step]
        if following is None or not isinstance(held, type(inner)):
            values[step] = inner
        values = values[step]


def _merge(values: dict[str, Any], told: Any) -> None:
    """Puts a document's mappings into values, inner ones likewise; what is no mapping takes the place."""
    for name, value in told.items() if isinstance(told, dict) else ():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = value
