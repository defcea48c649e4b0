"""Which program a command starts, with what stands before it: environment, wrappers, containers, shells.

Programs, Python modules and images are rows of `data/engine_commands.csv`. Nothing is run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from sizer.engine.containers import CONTAINERS, Container, container_of
from sizer.engine.programs import Program, programs
from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass

LAUNCHERS = frozenset({"sudo", "env", "nohup", "exec", "time", "command", "uvx", "caffeinate", "trtllm-llmapi-launch"})
WRAPPERS = frozenset(
    {
        *LAUNCHERS, "accelerate", "apptainer", "chrt", "cmd", "conda", "distrobox", "doas", "firejail", "flatpak",
        "gamemoderun", "ionice", "kubectl", "mamba", "micromamba", "mpiexec", "mpirun", "nice", "numactl", "nsys",
        "pipenv", "pixi", "poetry", "powershell", "prime-run", "pwsh", "ray", "sbatch", "screen", "setsid",
        "singularity", "srun", "ssh", "start", "stdbuf", "su", "systemd-run", "taskset", "timeout", "tmux", "toolbox",
        "unbuffer", "uv", "winpty", "wsl",
    }
)  # fmt: skip
"""Programs that run a command which stands somewhere behind their own options, as words or as one quoted text."""
RANK_LAUNCHERS = frozenset({"torchrun", "deepspeed", "accelerate"})
"""Programs that start a Python module once a rank."""
MOST_OPTIONS = 30
"""Words between a program's name and its command."""
FIRST_WORDS = 4
"""Among how many words a program's that tells nothing are looked for."""
REFUSED = {
    "client": (
        "loads no model: it works with a server that runs",
        "Paste the command that starts the server, or loads its model.",
    ),
    "converter": ("makes files of a model and serves none", "Paste the command that serves them."),
    "chooser": (
        "chooses its engine, precision and context by the card",
        "'sizer estimate MODEL' tells them one by one; its log names what it took.",
    ),
    "cluster": (
        "loads no model when it starts: it deals one out over the machines that it has when it is asked for",
        "Paste what starts the engine on one of them, or ask 'sizer estimate MODEL -d DEVICE -d DEVICE'.",
    ),
    "npu": (
        "runs what is no GGUF file on an NPU or by a runtime that sizer has not read",
        "Name a GGUF model, or ask 'sizer estimate MODEL -d DEVICE'.",
    ),
    "unread": (
        "starts an engine that sizer has not read",
        "'sizer estimate MODEL -d DEVICE' tells the model in the engines that it has.",
    ),
    "retired": ("is of older releases, which sizer has not read", "Paste the command of a newer one."),
}
"""Kinds of programs that tell nothing of what a model takes: why, and what to paste unless the row's note says it."""
_OPERATORS = ";&|"
SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?w?")


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
    container: Container | None = None
    while rest:
        word = rest[0]
        if _ASSIGNMENT.fullmatch(word) and not word.startswith("-"):
            environment.append(rest.pop(0))
        elif _base(word) in LAUNCHERS:
            rest = _without_options(rest[1:])
        elif _base(word) == "uv" and rest[1:2] == ["run"]:
            rest = _without_options(rest[2:])
        elif _base(word) in RANK_LAUNCHERS and "-m" in rest:
            rest = ["python", *rest[rest.index("-m") :]]
        elif _base(word) in CONTAINERS and _program(rest) is None:
            container = container_of(rest)
            environment += container.environment
            rest = list(container.arguments)
        elif _base(word) in SHELLS and rest[1:2] and re.fullmatch(r"-\w*c", rest[1]):
            rest = _starting(split_commands(" ".join(rest[2:3])))
        else:
            break
    image = container.program if container is not None else None
    found = _program(rest)
    if found is None and image is not None and image.dialects:
        # The image's own entry point: what follows are its arguments.
        found = _program([*image.dialects, *rest]) or (None if rest else _program([*image.dialects, "serve"]))
    if found is None and image is None and (wrapped := _wrapped(words)):
        return started([*environment, *wrapped])
    if found is None:
        raise _unread(words, rest, container.image if container is not None and image is None else "")
    program, path, arguments = found
    return Started(program, tuple(arguments), path, tuple(environment), container.version if container else "")


def _unread(words: Sequence[str], rest: Sequence[str], image: str) -> UsageError:
    """Why a command is not read; `rest` is what stands behind launchers, `image` one that no row knows."""
    if refused := _refused(words):
        return UsageError(*refused)
    if image:
        instead = "Write the program that it starts behind it: docker run IMAGE vllm serve MODEL."
        return UsageError(f"{image!r:.200} is no image that sizer knows.", instead)
    if file := next((word for word in rest if word.endswith(".py")), ""):
        return UsageError(
            f"{file!r:.200} is no script that can be read here, and its name tells no engine.",
            "Paste its text, or give a command as vllm serve MODEL.",
        )
    return UsageError(f"{_shown(rest or words)} is no command that sizer reads.", _hint(rest or list(words)))


def _refused(words: Sequence[str]) -> tuple[str, str] | None:
    """Why a known program tells nothing, and what to paste in its place; None for any other."""
    first = " ".join(_base(word).lower() for word in words[:FIRST_WORDS])
    images = " ".join(word.lower() for word in words)
    for program in programs():
        name = " ".join(program.words)
        if program.kind in REFUSED and (f" {name} " in f" {first} " or ("/" in name and name in images)):
            why, instead = REFUSED[program.kind]
            return f"{name!r} {why}.", program.note or instead
    return None


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
    names = [" ".join(program.words) for program in programs() if program.kind not in {"image", *REFUSED}]
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
        behind = _behind(program, names) if program.kind in kinds else None
        if behind is not None and program.meant(behind):
            return program, path, behind
    if names and names[0].endswith(".llamafile"):  # a program that holds its model, and is named after it
        row = next(row for row in programs() if row.words == ("llamafile",))
        return row, path, ["-m", names[0].replace(".llamafile", ".gguf"), *names[1:]]
    # Programs that carry their build in their name: koboldcpp-linux-x64, koboldcpp_cu12.
    plain = re.split(r"[-_]", names[0])[0] if names else ""
    built = (row for row in programs() if row.kind == "program" and row.words == (plain,))
    return next(((row, path, names[1:]) for row in built), None)


def _behind(program: Program, names: Sequence[str]) -> list[str] | None:
    """The words behind a program's own, with options that stand between those (`ramalama --runtime vllm serve`).

    None where the words are not the program's.
    """
    first, *more = program.words
    if not names or names[0].lower() != first:
        return None
    at = 1
    if more and names[1:2] and names[1].startswith("-"):
        at = next((place for place, name in enumerate(names[:MOST_OPTIONS]) if place and name == more[0]), 1)
    if [name.lower() for name in names[at : at + len(more)]] != more:
        return None
    return [*names[1:at], *names[at + len(more) :]]


def _starting(commands: Sequence[list[str]]) -> list[str]:
    """Of a shell's commands the first that starts a program, or what may run one; the first where none does."""

    def plain(words: list[str]) -> list[str]:
        return words[next((at for at, word in enumerate(words) if not _ASSIGNMENT.fullmatch(word)), 0) :]

    found = [(words, _program(plain(words))) for words in commands]
    known = [(words, program[0].serves) for words, program in found if program is not None]
    starts = [words for words, serves in sorted(known, key=lambda pair: pair[1] == "others")]  # these name no model
    runs = [words for words in commands if _base(plain(words)[0]) in WRAPPERS | CONTAINERS]
    return next(iter([*starts, *runs, *commands]), [])


def split_commands(text: str) -> list[list[str]]:
    """The commands of a shell's text, each as its words: a line each, or between `;`, `&&`, `|` and their kin."""
    commands: list[list[str]] = []
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=_OPERATORS)
        lexer.whitespace_split = True
        commands.append([])
        try:
            for word in lexer:
                if word and set(word) <= set(_OPERATORS):
                    commands.append([])
                else:
                    commands[-1].append(word)
        except ValueError:
            commands[-1] = split_words(line)
    return [command for command in commands if command]


def split_words(text: str) -> list[str]:
    """The words of a shell command, quotes and line continuations as a shell has them. Raises UsageError."""
    try:
        return shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise UsageError(f"the command cannot be split into words: {error}.", "Check its quotes.") from None
