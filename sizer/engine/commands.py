"""A command line, as one would type it, becomes an engine with its options.

What stands before the program (`sudo`, environment variables, `docker run ... IMAGE`) is stepped over; programs, Python
modules and images are rows of `data/engine_commands.csv`. Nothing is run, and no file but a Modelfile is opened.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from sizer.engine.config_files import Reader, with_settings
from sizer.engine.engines import engines, find_engine
from sizer.engine.flag_table import find_flag, flag_setting
from sizer.engine.flags import Read, options_of, read_flags
from sizer.engine.graph_rules import graph_rule
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.tables import read_rows

LAUNCHERS = frozenset({"sudo", "env", "nohup", "exec", "time", "command", "uvx", "caffeinate", "trtllm-llmapi-launch"})
WRAPPERS = frozenset(
    {
        *LAUNCHERS, "accelerate", "apptainer", "chrt", "cmd", "conda", "distrobox", "doas", "firejail", "flatpak",
        "gamemoderun", "ionice", "kubectl", "mamba", "micromamba", "mpiexec", "mpirun", "nice", "numactl", "nsys",
        "pipenv", "pixi", "poetry", "powershell", "prime-run", "pwsh", "screen", "setsid", "singularity", "srun", "ssh",
        "start", "stdbuf", "su", "systemd-run", "taskset", "timeout", "tmux", "toolbox", "unbuffer", "uv", "winpty",
        "wsl",
    }
)  # fmt: skip
"""Programs that run a command which stands somewhere behind their own options, as words or as one quoted text."""
CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
CONTAINER_SWITCHES = frozenset(
    {
        "-i", "-t", "-d", "-it", "-ti", "-dit", "-itd", "-P", "--rm", "--init", "--detach", "--interactive", "--tty",
        "--privileged", "--publish-all", "--read-only", "--no-healthcheck", "--oom-kill-disable", "--quiet", "-q",
    }
)  # fmt: skip
"""Options of `docker run` without a value; every other takes one."""
SETTINGS_HINT = "Paste its text before the command: cat > FILE <<EOF, its lines, EOF."
SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?w?")
_TAG_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)|(b\d{3,6})(?!\d)")


@dataclass(frozen=True, slots=True)
class Program:
    """A row of `data/engine_commands.csv`: what starts an engine, and how many words after it are no flags.

    `serves` is slots where it starts several by itself, `sees` is hub where it loads the projector that lies beside
    a hub's file, `defaults` are flags of its own that are not the engine's.
    """

    kind: str
    words: tuple[str, ...]
    engine: str
    dialects: tuple[str, ...]
    positionals: int
    serves: str = ""
    sees: str = ""
    defaults: tuple[str, ...] = ()


@cache
def programs() -> tuple[Program, ...]:
    """The rows, those of most words first."""
    rows = [
        Program(
            row["kind"],
            tuple(row["words"].split()),
            row["engine"],
            tuple(row["dialects"].split()) or engines()[row["engine"]].flags,
            int(row["positionals"] or 0),
            row["serves"],
            row["sees"],
            tuple(row["defaults"].split()),
        )
        for row in read_rows("engine_commands.csv")
    ]
    return tuple(sorted(rows, key=lambda row: -len(row.words)))


@dataclass(frozen=True, slots=True)
class Started:
    """A program with the words after it, and what stood before: environment and the version that an image tells."""

    program: Program
    words: tuple[str, ...]
    path: str = ""
    environment: tuple[str, ...] = ()
    version: str = ""


def started(words: Sequence[str]) -> Started:
    """Which program a command starts. Raises UsageError for one that no row knows."""
    rest = list(words)
    environment: list[str] = []
    version = ""
    image: Program | None = None
    while rest:
        word = rest[0]
        if _ASSIGNMENT.fullmatch(word) and not word.startswith("-"):
            environment.append(rest.pop(0))
        elif _base(word) in LAUNCHERS:
            rest = _without_options(rest[1:])
        elif _base(word) == "uv" and rest[1:2] == ["run"]:
            rest = _without_options(rest[2:])
        elif _base(word) in CONTAINERS:
            image, version, variables, rest = _container(rest)
            environment += variables
        elif _base(word) in SHELLS and rest[1:2] and re.fullmatch(r"-\w*c", rest[1]):
            rest = split_words(" ".join(rest[2:3]))
        else:
            break
    found = _program(rest)
    if found is None and image is not None and image.dialects:
        # The image's own entry point: what follows are its arguments.
        found = _program([*image.dialects, *rest]) or (None if rest else _program([*image.dialects, "serve"]))
    if found is None and image is None and (wrapped := _wrapped(words)):
        return started([*environment, *wrapped])
    if found is None:
        raise UsageError(f"{_shown(rest or words)} is no command that sizer reads.", _hint(rest or list(words)))
    program, path, arguments = found
    return Started(program, tuple(arguments), path, tuple(environment), version)


def _wrapped(words: Sequence[str]) -> list[str]:
    """The command that a wrapper runs: from the first word on that starts a program; none where no wrapper is named."""
    names = [_base(word) for word in words]
    first = next((index for index, name in enumerate(names) if name in WRAPPERS), len(words))
    for index in range(first + 1, len(words)):
        word = words[index]
        if re.search(r"\s", word):
            return split_words(word)
        if word.startswith("docker://") and names[first] in {"apptainer", "singularity"}:
            return ["docker", "run", word.removeprefix("docker://"), *words[index + 1 :]]
        if names[index] in CONTAINERS or _program(words[index:]) is not None:
            return list(words[index:])
    return []


def _shown(words: Sequence[str]) -> str:
    return repr(" ".join(words)[:60]) if words else "the command is empty: it"


def _hint(words: Sequence[str]) -> str:
    names = [" ".join(program.words) for program in programs() if program.kind != "image"]
    names = [name for name in names if not name.endswith(".py")]  # any program's script may be called main.py
    near = did_you_mean(" ".join(words[:2]), names) or did_you_mean(" ".join(words[:1]), names)
    return near or "Known: vllm serve, llama-server, ollama run, python -m sglang.launch_server, trtllm-serve ..."


def _base(word: str) -> str:
    return re.split(r"[\\/]", word)[-1].removesuffix(".exe")


def _without_options(rest: list[str]) -> list[str]:
    """The words after a launcher's own options."""
    while rest and rest[0].startswith("-"):
        rest = rest[1:]
    return rest


def _container(words: Sequence[str]) -> tuple[Program | None, str, list[str], list[str]]:
    """`docker run OPTIONS IMAGE ARGS`: the image's program, its version, the variables set, and the arguments."""
    rest = list(words[1:])
    if rest[:1] == ["container"]:
        rest = rest[1:]
    if rest[:1] not in (["run"], ["exec"], ["create"]):
        raise UsageError(f"{' '.join(words[:3])!r} starts no engine.", "Give the whole 'docker run ... IMAGE ARGS'.")
    rest, variables = rest[1:], []
    entry: list[str] = []
    while rest and rest[0].startswith("-"):
        option, sign, value = rest.pop(0).partition("=")
        if option in CONTAINER_SWITCHES or (sign and option not in {"-e", "--env", "--entrypoint"}):
            continue
        if not sign:
            if not rest:
                break
            value = rest.pop(0)
        if option in {"-e", "--env"} and "=" in value:
            variables.append(value)
        elif option == "--entrypoint" and value:
            entry = [value]
    if not rest:
        raise UsageError("the docker command names no image.", "Give the whole 'docker run ... IMAGE ARGS'.")
    image = rest.pop(0)
    tag = image.rpartition("/")[2].partition(":")[2]
    known = next((row for row in programs() if row.kind == "image" and row.words[0] in image.lower()), None)
    # A tag may tell several versions (rocm6.3.1_vllm_0.6.6): the engine's own stands behind its name.
    named = re.search(rf"{re.escape(known.engine)}[_-]?v?(\d+\.\d+(?:\.\d+)?)", tag) if known is not None else None
    found = named or _TAG_VERSION.search(tag)
    version = next((part for part in found.groups() if part), "") if found else ""
    if rest and rest[0] in {"--server", "-s"} and known is not None and "llama.cpp" in known.words[0]:
        entry, rest = ["llama-server"], rest[1:]
    return known, version, variables, [*entry, *rest]


def _program(words: Sequence[str]) -> tuple[Program, str, list[str]] | None:
    """The program that words start with, its path, and the words after it."""
    if not words:
        return None
    path, rest = words[0], list(words[1:])
    kinds, names = {"program", "script"}, [_base(path), *rest]
    if _PYTHON.fullmatch(_base(path)):
        while rest and rest[0].startswith("-") and rest[0] != "-m":
            rest = rest[1:]
        if rest[:1] == ["-m"]:
            kinds, names = {"module"}, rest[1:]
        else:
            kinds, names = {"script"}, [_base(rest[0]), *rest[1:]] if rest else []
            path = rest[0] if rest else path
    for program in programs():
        count = len(program.words)
        if program.kind in kinds and tuple(name.lower() for name in names[:count]) == program.words:
            return program, path, names[count:]
    if names and names[0].endswith(".llamafile"):  # a program that holds its model, and is named after it
        row = next(row for row in programs() if row.words == ("llamafile",))
        return row, path, ["-m", names[0].replace(".llamafile", ".gguf"), *names[1:]]
    # Programs that carry their build in their name: koboldcpp-linux-x64, koboldcpp_cu12.
    plain = re.split(r"[-_]", names[0])[0] if names else ""
    return next(((row, path, names[1:]) for row in programs() if row.words == (plain,)), None)


def split_words(text: str) -> list[str]:
    """The words of a shell command, quotes and line continuations as a shell has them. Raises UsageError."""
    try:
        return shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise UsageError(f"the command cannot be split into words: {error}.", "Check its quotes.") from None


def read_command(words: Sequence[str], read_file: Reader = lambda _: None) -> EngineOptions:
    """The engine and options of one command; `read_file` gives the configuration files that it names.

    Raises UsageError.
    """
    start = started(words)
    engine = _engine(start)
    dialects = start.program.dialects if engine == start.program.engine else engines()[engine].flags
    told, missing = with_settings(dialects, start.words, read_file)
    read = read_flags(
        dialects,
        [*start.program.defaults, *_known_variables(dialects, start.environment), *told],
        version=start.version,
        abbreviates=True,
        positionals=start.program.positionals,
    )
    read.unknown += [(f"{flag} is left out: there is no such file here", "") for flag in missing]
    options = with_model(options_of(engine, start.version, read, dialects), read)
    if missing and not options.model:
        raise UsageError(f"no model is named, and there is no file for {missing[0]}.", SETTINGS_HINT)
    options = _with_projector(options, start.program)
    return _with_slots(options) if start.program.serves == "slots" else options


def _with_projector(options: EngineOptions, program: Program) -> EngineOptions:
    """The options with the projector that a program loads unasked (llama.cpp common/arg.cpp --mmproj-auto)."""
    from_hub = {"hf-repo", "hf_repo"} & {name for name, _ in options.given}
    unasked = program.sees == "hub" and from_hub and options.vision is None and not options.vision_file
    return replace(options, vision=True) if unasked else options


def _with_slots(options: EngineOptions) -> EngineOptions:
    """The options with the slots that a server starts by itself: several share one cache (`data/graph_rules.csv`)."""
    rule = graph_rule(options.engine, options.version)
    if (options.max_sequences or 0) > 0 or rule is None or rule.server_slots == 1:
        return options
    unified = True if options.unified_cache is None else options.unified_cache
    return replace(options, max_sequences=rule.server_slots, unified_cache=unified)


def _engine(start: Started) -> str:
    """The engine of a program: ik_llama.cpp's programs are called as llama.cpp's, its flags and its folder tell it."""
    name = start.program.engine
    if name != "llama.cpp" or start.program.dialects != engines()[name].flags:
        return name
    fork = engines()["ik_llama.cpp"]
    spelled = [word.partition("=")[0] for word in start.words if word.startswith("-")]
    own = any(find_flag(fork.flags, word) and not find_flag((name,), word) for word in spelled)
    return fork.name if own or "ik_llama" in start.path else name


def _known_variables(dialects: Sequence[str], environment: Sequence[str]) -> list[str]:
    """The environment variables that the engine reads as options; others are nothing to it."""
    return [entry for entry in environment if find_flag(dialects, entry.partition("=")[0])]


def with_model(options: EngineOptions, read: Read) -> EngineOptions:
    """The options with the model that the command's plain words name, and llama.cpp's -hff file as part of -hf."""
    plain = [word for word in read.positionals if word]
    model = plain[0] if plain else options.model  # `vllm serve MODEL` wins over --model
    if "*" in options.hub_file and model:  # llama-cpp-python's patterns: *Q8_0.gguf
        model = f"{model}:{options.hub_file.strip('*-_.').removesuffix('.gguf').strip('*-_.')}"
    elif options.hub_file and model:
        model = f"{model.partition(':')[0]}/{options.hub_file}"
    return replace(options, model=model)


def naming_hint(options: EngineOptions) -> str:
    """How a command of an engine names its model: by a flag, or by a word of the program that takes one."""
    flag = flag_setting(options.dialects, "model", options.version)
    takes = (row for row in programs() if row.engine == options.engine and row.positionals and row.kind == "program")
    program = min(takes, key=lambda row: row.words[-1] != "run", default=None)
    if flag is not None and program is None:
        return f"Add {flag.spellings[0]} MODEL: it is needed to say what it takes."
    words = " ".join(program.words) if program is not None else "its command"
    return f"Write '{words} MODEL' in its place, or after it: it is needed to say what it takes."


NEWEST = frozenset({"latest", "main", "master", "nightly", "stable", "dev"})
"""Words for a version that mean the newest."""


def read_engine(text: str) -> EngineOptions:
    """`NAME[@VERSION] FLAGS` of --engine. Raises UnknownEngine, UsageError for what is no flag's value.

    >>> read_engine("vllm@0.21 --max-num-seqs 64").max_sequences
    64
    """
    words = text.split() if text.count('"') == text.count("'") == 0 else split_words(text)
    head = words[0] if words else ""
    name, _, version = head.partition("@")
    engine = find_engine(name)
    if version and version.lower() not in NEWEST and not any(map(str.isdigit, version)):
        raise UsageError(
            f"{version!r} is no version of {engine.name}.", f"Write it as {engine.name}@0.21, or leave it out."
        )
    if not engine.flags and len(words) > 1:
        raise UsageError(f"sizer knows no flags of {engine.name}.", f"It takes: -e {engine.name}.")
    read = read_flags(engine.flags, words[1:], version=version, abbreviates=True)
    return options_of(engine.name, version, read)
