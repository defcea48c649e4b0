"""What people paste becomes the text of a POSIX shell: other shells, prompts, and documents that hold a command.

Read are Docker Compose files, llama-swap's models, systemd units and llama-server's presets, as far as a command stands
in them; the first one that starts something is taken.
"""

from __future__ import annotations

import re
import shlex
from itertools import islice

MOST_SERVICES = 100
MOST_VALUE_CHARACTERS = 100_000
"""Of the values of variables, all together."""
_CONTINUED = re.compile(r"[ \t][`^][ \t]*\r?\n")
_FENCE = re.compile(r"^[ \t]*(```|~~~).*$", re.MULTILINE)
_PROMPT = re.compile(
    r"^[ \t]*(?:[$>%]|PS [^>\n]*>|[A-Za-z]:\\[^>\n]*>|[\w.-]+@[\w.-]+[: ][^$#\n]*[$#])[ \t]+(?=\S)", re.MULTILINE
)
_LONG_DASH = re.compile(r"(?<=\s)[–—](?=[A-Za-z])")  # noqa: RUF001 - what word processors make of two dashes
_WINDOWS_PATH = re.compile(r"(?<![^\s\"'=])(?:[A-Za-z]:|\.{1,2})\\[^\s\"']*")
_POWERSHELL_SET = re.compile(r"^[ \t]*\$env:(\w+)[ \t]*=[ \t]*(\S.*)$", re.MULTILINE)
_CMD_SET = re.compile(r"^[ \t]*set[ \t]+\"?(\w+)=([^\"\n&]*)(?:\"[ \t]*(?:&&|$)|&&|$)", re.MULTILINE | re.IGNORECASE)
_REDIRECTED = re.compile(r"(?<=\s)(?:\d?>>?|&>>?)[ \t]*(?:&\d|[^\s;|&]+)")
_SET_VARIABLE = re.compile(r"^(?:export[ \t]+)?([A-Za-z_]\w*)=(\"[^\"\n]*\"|'[^'\n]*'|[^\s;\"']*)[ \t]*(?:[;#].*)?$")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*))")

_SETTING = re.compile(r"[ \t]*[\w-]+[ \t]*=")
_UNIT_SECTIONS = frozenset({"[Unit]", "[Service]", "[Install]"})


def shell_text(text: str) -> str:
    """The same as a POSIX shell would be told it: one command a line or several, without prompts and redirections."""
    text = _FENCE.sub("", text)
    text = _documented(text) or text
    text = _CONTINUED.sub(" ", text)
    text = _PROMPT.sub("", text)
    text = _LONG_DASH.sub("--", text)
    text = _POWERSHELL_SET.sub(lambda found: f"export {found[1]}=" + found[2].rstrip(" \t;"), text)
    text = _CMD_SET.sub(lambda found: f"export {found[1]}={shlex.quote(found[2].strip())}\n", text)
    text = _WINDOWS_PATH.sub(lambda found: found[0].replace("\\", "/"), text)
    return _with_variables(_REDIRECTED.sub("", text))


def _with_variables(text: str) -> str:
    """The text with shell variables that it sets itself put in, and defaults of those that it does not.

    Values that name each other may double from line to line: no more than a bound is put in.
    """
    values: dict[str, str] = {}
    lines, left = [], MOST_VALUE_CHARACTERS

    def put_in(found: re.Match[str]) -> str:
        nonlocal left
        value = _value_of(found, values)
        left -= len(value)
        return value if left >= 0 else found[0]

    for line in re.sub(r"^([A-Za-z_]\w*=[^\s;]+);", r"\1\n", text, flags=re.MULTILINE).splitlines():
        told = _VARIABLE.sub(put_in, line)
        assigned = _SET_VARIABLE.match(told.strip())
        if assigned:
            values[assigned[1]] = assigned[2].strip("\"'")
        lines.append(told)
    return "\n".join(lines)


def _value_of(found: re.Match[str], values: dict[str, str]) -> str:
    name = found[1] or found[3]
    return values.get(name, found[2] if found[2] is not None else found[0])


def _documented(text: str) -> str:
    """The command that a document holds, as a shell's text; empty for a text that is no such document."""
    if re.search(r"^[ \t]*ExecStart=", text, re.MULTILINE):
        return _unit(text)
    if re.search(r"^[ \t]+(?:- )?image:[ \t]*\S", text, re.MULTILINE):
        return _compose(text)
    if found := re.search(r"^([ \t]+)cmd:[ \t]*(.*)$", text, re.MULTILINE):
        return _block(text, found.end(), len(found[1]), found[2])
    if _is_preset(text):
        return _preset(text)
    return ""


def _unit(text: str) -> str:
    """A systemd unit: its environment, then the program it starts."""
    text = text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    variables = [line.partition("=")[2].strip() for line in lines if line.startswith("Environment=")]
    pairs = [pair.strip("\"'") for line in variables for pair in re.findall(r"\"[^\"]*\"|'[^']*'|\S+", line)]
    start = next(line.partition("=")[2].lstrip("-@:+! ") for line in lines if line.startswith("ExecStart="))
    return "\n".join([*(f"export {shlex.quote(pair)}" for pair in pairs), start])


def _compose(text: str) -> str:
    """A Compose file's services with images, or a pod's containers: `docker run` of each, with its command."""
    text = re.sub(r"^([ \t]*)- (?=(?:name|image|command|args):)", r"\1  ", text, flags=re.MULTILINE)
    images = re.finditer(r"^([ \t]+)image:[ \t]*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    return "\n".join(_service(text, found) for found in islice(images, MOST_SERVICES))


def _service(text: str, found: re.Match[str]) -> str:
    depth = len(found[1])
    outside = rf"^[ \t]{{0,{depth - 1}}}[^\s#].*$"
    before = [one.end() for one in re.finditer(outside, text[: found.start()], re.MULTILINE)]
    line_end = (text + "\n").index("\n", found.end())
    after = re.search(outside, text[line_end:], re.MULTILINE)
    service = text[before[-1] if before else 0 : line_end + after.start() if after else len(text)]
    words = ["docker", "run"]
    for pair in _entries(service, depth, "environment"):
        name = pair.partition(":")[0]
        words += ["-e", shlex.quote(pair if "=" in name else re.sub(r":[ \t]*", "=", pair, count=1))]
    arguments = _entries(service, depth, "args")
    entry = _entries(service, depth, "command" if arguments else "entrypoint")
    words += ["--entrypoint", shlex.quote(entry[0])] if entry else []
    image = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", found[2])
    rest = [shlex.quote(word) for word in arguments] or _command(service, depth)
    return " ".join([*words, image, *(shlex.quote(word) for word in entry[1:]), *rest])


def _command(service: str, depth: int) -> list[str]:
    found = re.search(rf"^[ \t]{{{depth}}}command:[ \t]*(.*)$", service, re.MULTILINE)
    if found is None:
        return []
    listed = _entries(service, depth, "command")
    return [shlex.quote(word) for word in listed] if listed else [_block(service, found.end(), depth, found[1])]


def _entries(service: str, depth: int, key: str) -> list[str]:
    """The entries of a key's list (`- a` a line, or `[a, b]`) or map (`NAME: value` a line)."""
    found = re.search(rf"^[ \t]{{{depth}}}{key}:[ \t]*(.*)$", service, re.MULTILINE)
    if found is None:
        return []
    if found[1].startswith("["):
        inside = service[found.start(1) : service.find("]", found.start(1))]
        return [part.strip().strip("\"'") for part in inside.strip("[]").split(",") if part.strip()]
    lines = []
    for line in service[found.end() :].splitlines()[1:]:
        inner = len(line) - len(line.lstrip())
        if line.strip() and (inner < depth or (inner == depth and not line.lstrip().startswith("-"))):
            break
        lines.append(line.strip())
    if found[1].strip():
        return []
    plain = [line for line in lines if line and not line.startswith("#")]
    return [re.sub(r"^-[ \t]+", "", line).strip().strip("\"'") for line in plain]


def _block(text: str, end: int, depth: int, first: str) -> str:
    """A YAML value that goes over several lines: those that stand deeper than its key, comments left out."""
    if first.strip() and first.strip()[0] not in "|>":
        value = first.strip()
        return value.strip("\"'") if value[0] in "\"'" and value[-1] == value[0] else value
    lines = []
    for line in text[end:].splitlines()[1:]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        lines.append(line.strip())
    return " ".join(line.rstrip("\\") for line in lines if line and not line.startswith("#"))


def _is_preset(text: str) -> bool:
    """Whether a text begins as llama-server's presets do: a section in brackets, a version before it or none, and a
    setting in it."""
    lines = [line.strip() for line in text.splitlines()[:1000]]
    told = [line for line in lines if line and line[0] not in ";#"][:3]
    if told and told[0].startswith("version") and "=" in told[0]:
        told = told[1:]
    header, *rest = told or [""]
    return (
        header[:1] == "["
        and header[-1] == "]"
        and header not in _UNIT_SECTIONS
        and bool(rest and _SETTING.match(rest[0]))
    )


def _preset(text: str) -> str:
    """llama-server's presets: the first model's section (and `[*]`, which holds for all), each line a long flag."""
    told: dict[str, str] = {}
    sections = 0
    for line in text.splitlines():
        plain = line.strip()
        if plain.startswith("["):
            sections += plain != "[*]"
        elif sections <= 1 and (found := re.match(r"([\w-]+)[ \t]*=([^;#]*)", plain)):
            told[found[1].replace("_", "-")] = found[2].strip().strip("\"'")
    told.pop("version", None)
    words = ["llama-server"]
    for name, value in told.items():
        flag = f"-{name}" if len(name) <= 2 else f"--{name}"
        switch = value.lower() in {"true", "false", ""}
        words += [flag] if value.lower() in {"true", ""} else [] if switch else [flag, shlex.quote(value)]
    return " ".join(words)
