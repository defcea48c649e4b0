"""Documents that hold an engine's command: Compose files and pods, llama-swap's and TabbyAPI's configuration, systemd
units, llama-server's presets, what serves models for others (`served_yaml`). Each becomes the text of a shell; the
first command that starts something is taken.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sizer.engine.served_yaml import served
from sizer.regex import sparing

MOST_PARTS = 1000
"""Of a document."""
MOST_MACRO_CHARACTERS = 100_000
"""Of what macros put into one command, and of commands before no further one is read."""
_KEYS = "image|cmd|model|model_name|model_dir|model_id|model_source|modelURL|modelFormat|uri|run|commands"
_YAML = re.compile(rf"(?:^[ \t]*(?:- )?|[{{,][ \t]*)[\"']?(?:{_KEYS})[\"']?:[ \t\r\n]", re.MULTILINE)
_DOCKERFILE = re.compile(r"^[ \t]*(FROM|ENV|CMD|ENTRYPOINT)[ \t]+(?:--\w+=\S*[ \t]+)*(\S.*)$", re.MULTILINE)
"""An instruction of a Dockerfile, behind flags of its own (`FROM --platform=linux/amd64 IMAGE`)."""
_IN_POD = re.compile(r"\$\((\w+)\)")
"""A variable of a pod's container in its command and arguments."""
_SETTING = re.compile(r"[ \t]*[\w-]+[ \t]*=")
_UNIT_SECTIONS = frozenset({"[Unit]", "[Service]", "[Install]"})
_DEFAULTED = re.compile(r"\$\{\w+:?-([^}]*)\}")


def document_command(text: str) -> str:
    """The commands that a document holds, as a shell's text; empty for a text that is no such document.

    Raises UsageError for YAML that cannot be read.
    """
    if re.search(r"^[ \t]*ExecStart=", text, re.MULTILINE):
        return _unit(text)
    if _is_preset(text):
        return _preset(text)
    if is_dockerfile(text):
        return _dockerfile(text)
    return _in_yaml(text) if _YAML.search(text) and _begins_as_yaml(text) else ""


def is_dockerfile(text: str) -> bool:
    """Whether a text begins with an image, behind comments and arguments, and says what its container starts."""
    told = [line for line in text.splitlines() if line.strip() and not re.match(r"[ \t]*(#|ARG[ \t])", line)]
    return (
        bool(told)
        and bool(re.match(r"FROM[ \t]+\S", told[0]))
        and bool(re.search(r"^(CMD|ENTRYPOINT)[ \t]", text, re.MULTILINE))
    )


def _dockerfile(text: str) -> str:
    """A Dockerfile as `docker run`: the last image, its environment, what it enters and what it is given."""
    told: dict[str, str] = {}
    variables: list[str] = []
    for name, value in _DOCKERFILE.findall(re.sub(r"\\[ \t]*\n", " ", text)):
        if name == "ENV":
            pair = value if "=" in value.split()[0] else "=".join(value.split(maxsplit=1))
            variables += _words(pair)
        else:
            told = {name: value} if name == "FROM" else {**told, name: value}
    return _run(variables, _exec(told.get("ENTRYPOINT", "")), told["FROM"].split()[0], _exec(told.get("CMD", "")))


def _exec(text: str) -> list[str]:
    """The words of an instruction: a list in brackets, or a line of a shell."""
    if text.startswith("["):
        with suppress(ValueError, RecursionError):
            return [str(word) for word in json.loads(text)]
    return _words(text)


def _run(variables: Sequence[str], entry: Sequence[str], image: str, rest: Sequence[str]) -> str:
    words = ["docker", "run", *(word for pair in variables for word in ("-e", pair))]
    words += ["--entrypoint", entry[0]] if entry else []
    return shlex.join([*words, image, *entry[1:], *rest])


def _begins_as_yaml(text: str) -> bool:
    """Whether the first line that is no comment is a key, an entry of a list, or begins a document."""
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return bool(re.match(r"[ \t]*(?:---|(?:- )?[\"']?[\w.-]+[\"']?:(?:[ \t]|$))", first))


def _in_yaml(text: str) -> str:
    from sizer.engine.yaml_text import read_yaml

    return "\n".join(line for document in read_yaml(text, plain=True) for line in commands_of(document))


def commands_of(document: Any) -> list[str]:
    """The commands that a document's mappings start, each as a shell's text."""
    found = [*(_tabby(document) or _swapped(document))]
    found += [line for part in _mappings(document) for line in served(part)]
    found += [_container(part) for part in _mappings(document) if _image(part)]
    return [*found, *_docker_models(document)]


def _image(service: Mapping[str, Any]) -> str:
    """The image of a container; of a chart's values, its repository and tag."""
    told = service.get("image")
    if isinstance(told, dict) and isinstance(told.get("repository"), str):
        return ":".join(part for part in (told["repository"], told.get("tag")) if isinstance(part, str) and part)
    return told if isinstance(told, str) else ""


def _mappings(document: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a document, outer before inner."""
    left, waiting = MOST_PARTS, [document]
    while waiting and left:
        left -= 1
        part = waiting.pop(0)
        if isinstance(part, dict):
            yield part
            # Compose's extension fields (x-common) are parts that services merge.
            waiting = [*(inner for name, inner in part.items() if not str(name).startswith("x-")), *waiting]
        elif isinstance(part, list):
            waiting = [*part, *waiting]


def _container(service: Mapping[str, Any]) -> str:
    """A Compose service or a pod's container as `docker run`: its environment, entry point, image and arguments.

    A pod's `command` is the entry point and its `args` what follows; a Compose file's are `entrypoint` and `command`.
    """
    variables = [*_pairs(service.get("environment")), *_pairs(service.get("env"))]
    values = dict(pair.partition("=")[::2] for pair in variables)
    pod = "args" in service or isinstance(service.get("env"), list)
    entry = _words(service.get("command" if pod else "entrypoint"))
    rest = _words(service.get("args" if pod else "command"))
    if pod:
        put_in = sparing(lambda found: values.get(found[1], found[0]), MOST_MACRO_CHARACTERS)
        entry, rest = ([_IN_POD.sub(put_in, word) for word in words] for words in (entry, rest))
    inner = service["image"].get("command") if isinstance(service["image"], dict) else None
    if started := _words(inner):  # vLLM's chart names the command beside the image
        entry, rest = started, [*rest, *_words(service.get("extraArgs"))]
    return _run(variables, entry, _DEFAULTED.sub(r"\1", _image(service)), rest)


def _words(told: Any) -> list[str]:
    """The words of a command: a list's entries, or a text split as a shell does, without its comments."""
    if isinstance(told, list):
        return [str(word) for word in told if isinstance(word, str)]
    if not isinstance(told, str):
        return []
    lines = [line.strip().rstrip("\\") for line in told.splitlines() if not line.lstrip().startswith("#")]
    try:
        return shlex.split(" ".join(lines).replace("$$", "$"))
    except ValueError:
        return " ".join(lines).split()


def _pairs(told: Any) -> list[str]:
    """`NAME=value` of a map, of a list of such texts, or of a list of maps with `name` and `value`."""
    if isinstance(told, dict):
        return [f"{name}={value}" for name, value in told.items() if isinstance(value, str)]
    pairs = []
    for entry in told if isinstance(told, list) else ():
        if isinstance(entry, str) and "=" in entry:
            pairs.append(entry)
        elif isinstance(entry, dict) and isinstance(entry.get("value"), str):
            pairs.append(f"{entry.get('name')}={entry['value']}")
    return pairs


def _swapped(document: Any) -> list[str]:
    """llama-swap's models: the `cmd` of each after its environment, with the macros that it and the file define."""
    models = document.get("models", document) if isinstance(document, dict) else None
    found: list[str] = []
    for model in models.values() if isinstance(models, dict) else ():
        if not isinstance(model, dict) or not isinstance(model.get("cmd"), str):
            continue
        if sum(map(len, found)) > MOST_MACRO_CHARACTERS:
            break
        macros = {**_texts(document.get("macros")), **_texts(model.get("macros"))}
        lines = [line.strip() for line in _with_macros(model["cmd"], macros).splitlines()]
        command = " ".join(line.rstrip("\\") for line in lines if line and not line.startswith("#"))
        found += [f"export {shlex.quote(pair)}" for pair in _pairs(model.get("env"))]
        found.append(command)
    return found


def _docker_models(document: Any) -> list[str]:
    """The `models` of a Compose file, which Docker Model Runner serves."""
    models = document.get("models") if isinstance(document, dict) else None
    found = []
    for model in models.values() if isinstance(models, dict) else ():
        if isinstance(model, dict) and isinstance(model.get("model"), str):
            size = model.get("context_size")
            words = ["docker", "model", "configure", *([f"--context-size={size}"] if size else []), model["model"]]
            found.append(shlex.join([*words, "--", *_words(model.get("runtime_flags"))]))
    return found


def _texts(told: Any) -> dict[str, str]:
    return {name: value for name, value in told.items() if isinstance(value, str)} if isinstance(told, dict) else {}


def _with_macros(text: str, macros: Mapping[str, str]) -> str:
    """A text with `${name}` put in, those of earlier macros in later ones; no more than a bound is put in."""
    known: dict[str, str] = {}
    put_in = sparing(lambda found: known.get(found[1], found[0]), MOST_MACRO_CHARACTERS)
    for name, value in [*macros.items(), ("", text)]:
        known[name] = re.sub(r"\$\{([\w-]+)\}", put_in, value)
    return known[""]


def _tabby(document: Any) -> list[str]:
    """TabbyAPI's config.yml: the settings of its sections, each a long flag."""
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        return []
    sections = [section for section in document.values() if isinstance(section, dict)]
    told = [(name, value) for section in sections for name, value in section.items()]
    words = ["tabbyapi"]
    for name, value in told:
        text = ",".join(_words(value)) if isinstance(value, list) else value if isinstance(value, str) else ""
        if text and text.lower() not in {"null", "~"}:
            words.append(shlex.quote(f"--{str(name).replace('_', '-')}={text}"))
    return [" ".join(words)]


def _unit(text: str) -> str:
    """A systemd unit: its environment, then the program it starts."""
    text = text.replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    variables = [line.partition("=")[2].strip() for line in lines if line.startswith("Environment=")]
    pairs = [pair.strip("\"'") for line in variables for pair in re.findall(r"\"[^\"]*\"|'[^']*'|\S+", line)]
    start = next(line.partition("=")[2].lstrip("-@:+! ") for line in lines if line.startswith("ExecStart="))
    return "\n".join([*(f"export {shlex.quote(pair)}" for pair in pairs), start])


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


def document_file(words: Sequence[str]) -> str:
    """The file of documents that `docker compose up`, `podman-compose` or `kubectl apply -f FILE` starts; empty for
    other commands."""
    plain = [word for word in words if not word.startswith("-")]
    composes = plain[:1] in (["docker-compose"], ["podman-compose"]) or plain[1:2] == ["compose"]
    applies = plain[:1] == ["kubectl"] and ({"apply", "create"} & set(plain))
    if not composes and not applies:
        return ""
    flag = next((index for index, word in enumerate(words) if word in {"-f", "--file", "--filename"}), len(words))
    return next(iter(words[flag + 1 :]), "docker-compose.yml" if composes else "")
