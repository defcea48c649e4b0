"""What a user pastes becomes one launch of an engine: a command, a script of several, a Modelfile or Python code.

A script's conversions are followed (`llama-quantize IN OUT TYPE`, `mlx_lm.convert`), so that a file which it makes is
known by what it is made from. Nothing is run: Python code is read as a syntax tree, for the arguments of a few calls.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from pathlib import Path

from sizer.engine.commands import read_command
from sizer.engine.deployed import charted, deployed
from sizer.engine.documents import document_file, is_dockerfile
from sizer.engine.options import EngineOptions
from sizer.engine.pasted import shell_text
from sizer.engine.started import Started, split_commands, started
from sizer.errors import UsageError
from sizer.frozen import dataclass

MOST_CHARACTERS = 100_000
"""Of one script, and files that it writes: more is no launch script."""
MOST_WRITTEN_FILES = 100
MODELFILE = "Modelfile"
NO_CHART = "no value of the chart names a model and the engine that serves it."
_HEREDOC = re.compile(
    r"(?:cat|tee)[ \t]*(?:>?[ \t]*(?P<file>[^\s<>]+))?[ \t]*<<-?[ \t]*(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)"
    r"[ \t]*(?:>[ \t]*(?P<after>[^\s<>]+))?[^\n]*\n(?P<text>.*?)\n?^[ \t]*(?P=end)[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_MADE_OF = re.compile(
    r"(?P<command>\bollama[ \t]+create[ \t][^\n<]{0,1000})<<-?[ \t]*(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)"
    r"[ \t]*\n(?P<text>.*?)\n?^[ \t]*(?P=end)[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
"""`ollama create NAME -f -` with its Modelfile behind it."""
_PYTHON = re.compile(r"^\s*(from [\w.]+ import\b|import [\w.]+( as \w+)?\s*($|[,;#]))", re.MULTILINE)

MODULES = {
    "LLM": "vllm",
    "Llama": "llama_cpp",
    r"sgl\.Engine": "sglang",
    "FastLanguageModel": "unsloth",
    r"AutoModel\w*": "transformers",
}
"""Whose a call is that stands without its import: its name as an expression."""
_CALL = re.compile(rf"\s*\w[\w, ]*=\s*({'|'.join(MODULES)})(?:\.from_pretrained)?\(")


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started: an engine's options, and the precision where a conversion names it."""

    options: EngineOptions
    precision: str = ""


@dataclasses.dataclass
class _Script:
    """What the commands before the launch have set up.

    `files` are those that it writes, by name; `created` the Modelfiles by engine and model, `made` of each converted
    file the model and the precision, `begun` the documents that have started already.
    """

    files: dict[str, str] = field(default_factory=dict)
    environment: list[str] = field(default_factory=list)
    created: dict[tuple[str, str], str] = field(default_factory=dict)
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    files_allowed: bool = True

    def begin(self, name: str) -> str:
        """The text of a document that a command starts; empty where there is none, or where it has begun already."""
        text = "" if name in self.begun else self.read(name)
        self.begun.add(name)
        return text or ""

    def hold(self, name: str, text: str) -> str:
        """Remembers a file that the script writes; nothing of it stays in the script."""
        self.files[_plain(name)] = text
        return ""

    def read(self, name: str) -> str | None:
        """The text of a file, one that the script writes or one of this machine; None where there is none."""
        if _plain(name) in self.files:
            return self.files[_plain(name)]
        return (_text(name) or None) if name and self.files_allowed else None


def read_launch(words: Sequence[str], *, files_allowed: bool = True) -> Launch:
    """The launch of a command's words, or of one text that holds a whole script. Raises UsageError.

    `files_allowed` lets it read files of this machine that a command names: a Modelfile, settings, a Compose file.
    """
    if sum(len(word) for word in words) > MOST_CHARACTERS:
        raise UsageError("the command is too long.", f"At most {MOST_CHARACTERS:,} characters are read.")
    text = words[0] if len(words) == 1 else ""
    if _PYTHON.search(text):
        return _loaded(text)
    if called := _CALL.match(text):
        module = next(module for name, module in MODULES.items() if re.fullmatch(name, called[1]))
        return _loaded(f"import {module}\n{text}")
    script = _Script(files_allowed=files_allowed)
    if not re.search(r"\s", text):
        return _launch([list(words)], script)
    if text.count("<<") > MOST_WRITTEN_FILES:
        raise UsageError("the script writes too many files.", f"At most {MOST_WRITTEN_FILES} are read.")
    text = _MADE_OF.sub(lambda found: script.hold("-", found["text"]) + found["command"], text)
    text = _HEREDOC.sub(lambda found: script.hold(found["file"] or found["after"] or "", found["text"]), text)
    if re.match(r"\s*FROM \S", text) and not is_dockerfile(text):
        script.files[MODELFILE] = text
        created = ["ollama", "create", "model", "-f", MODELFILE]
        return _launch([created, ["ollama", "run", "model"]], script)
    return _launch(split_commands(shell_text(text)), script)


def _launch(commands: Sequence[list[str]], script: _Script) -> Launch:
    """The first command that starts an engine, with what those before it set up. Raises UsageError."""
    refused: UsageError | None = None
    alone = sum(words[0] != "export" for words in commands) == 1
    waiting = list(commands)
    while waiting:
        told = waiting.pop(0)
        if file := document_file(told):
            waiting = [*split_commands(shell_text(script.begin(file))), *waiting]
            refused = refused or UsageError(f"{file!r:.200} is not there, or starts no engine.", "Paste its text.")
            continue
        if (started_there := charted(told, script.read)) is not None:
            waiting = [*split_commands("\n".join(started_there)), *waiting]
            refused = refused or UsageError(NO_CHART, "Give its values file (-f values.yaml), or paste it.")
            continue
        words = _requested(told) or deployed(told) or told
        if words[0] == "export":
            script.environment += words[1:]
            continue
        convert = CONVERSIONS.get(Path(words[0]).name) or CONVERSIONS.get(Path(words[1]).name if len(words) > 1 else "")
        if convert is not None:
            convert(words, script)
            continue
        try:
            start = started(words)
        except UsageError as error:
            code = _code(words, script)
            if code:
                return _loaded(code, words)
            refused = refused or error
            continue
        if start.program.serves == "others" and not alone:
            script.environment += start.environment
        elif start.program.serves == "made":
            _create(start, script)
        else:
            return _finish(words, script)
    raise refused or UsageError("the script starts no engine.", "Give a command such as 'vllm serve MODEL'.")


def _requested(words: Sequence[str]) -> list[str]:
    """`curl .../api/generate -d '{"model": ...}'` as the command that loads the model so; empty for other commands."""
    asked = next((word for word in words if re.search(r"/api/(generate|chat|embed)", word)), "")
    body = next((word for word in words if word.lstrip().startswith("{")), "")
    if not asked or not body:
        return []
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return []
    model, options = (told.get("model"), told.get("options")) if isinstance(told, dict) else (None, None)
    if not isinstance(model, str):
        return []
    pairs = options.items() if isinstance(options, dict) else ()
    return ["ollama", "run", model, *(f"{name}={value}" for name, value in pairs)]


def _loaded(code: str, arguments: Sequence[str] = ()) -> Launch:
    """What Python code loads. Raises UsageError where it loads nothing that is understood."""
    from sizer.engine.python_code import read_python

    return Launch(*read_python(code, arguments))


def _code(words: Sequence[str], script: _Script) -> str:
    """The code of `python -c CODE`, or of the script that Python or a launcher (`torchrun`) runs; empty for others."""
    python = next((index for index, word in enumerate(words) if re.fullmatch(r"python[\d.]*", Path(word).name)), None)
    if python is not None and words[python + 1 : python + 2] == ["-c"]:
        return next(iter(words[python + 2 :]), "")
    file = next((word for word in words if word.endswith(".py")), "")
    return script.read(file) or ""


def _text(name: str) -> str:
    """The text of a file that a command names; empty where there is none.

    Raises UsageError for one that cannot be read, or is longer than a command may be.
    """
    try:
        file = Path(name)
        if not file.is_file():
            return ""
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{name!r:.80} cannot be read: {why}.", "Paste its text.") from None
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{name!r:.200} is too long.", f"At most {MOST_CHARACTERS:,} characters are read.")
    return text


def _create(start: Started, script: _Script) -> None:
    """`ollama create NAME -f FILE`."""
    rest = list(start.words)
    name = next((word for word in rest if not word.startswith("-")), "")
    position = next((index for index, word in enumerate(rest) if word in {"-f", "--file"}), None)
    file = rest[position + 1] if position is not None and position + 1 < len(rest) else MODELFILE
    text = script.read(file)
    if text is None:
        raise UsageError(f"there is no Modelfile {file!r}.", "Paste its text, or give the path.")
    script.created[start.program.engine, name] = text


def _finish(words: Sequence[str], script: _Script) -> Launch:
    """The launch of a command, its model followed to what it was made from."""
    options = read_command([*script.environment, *words], script.read)
    if made := script.created.get((options.engine, options.model)):
        lines = made.splitlines()
        source = next((line.split(maxsplit=1)[1].strip() for line in lines if line.upper().startswith("FROM ")), "")
        parameters = [line.split(maxsplit=2)[1:] for line in lines if re.match(r"(?i)parameter \S+ \S", line)]
        extra = [f"{name}={value.strip()}" for name, value in parameters]
        options = replace(read_command([*script.environment, *words, *extra]), model=source)
    source, precision = script.made.get(_plain(options.model), (options.model, ""))
    return Launch(replace(options, model=source), precision)


def _plain(path: str) -> str:
    return path.removeprefix("./")


def _value(words: Sequence[str], *names: str) -> str:
    """The value of a flag among words, `--a b` or `--a=b`; empty where it is not given."""
    for index, word in enumerate(words):
        if word in names and index + 1 < len(words):
            return words[index + 1]
        if word.partition("=")[0] in names and "=" in word:
            return word.partition("=")[2]
    return ""


def _source(script: _Script, name: str) -> str:
    return script.made.get(_plain(name), (name, ""))[0]


def _download(words: Sequence[str], script: _Script) -> None:
    """`hf download REPOSITORY [FILE] --local-dir DIR`."""
    plain = [word for word in words[2:] if not word.startswith("-")]
    folder = _value(words, "--local-dir")
    if plain and folder:
        script.made[_plain(folder)] = (plain[0], "")


def _to_gguf(words: Sequence[str], script: _Script) -> None:
    """`convert_hf_to_gguf.py MODEL --outfile FILE --outtype TYPE`."""
    start = next(index for index, word in enumerate(words) if Path(word).name.startswith("convert"))
    made, kind = _value(words, "--outfile"), _value(words, "--outtype") or "bf16"
    values = {_value(words, name) for name in ("--outfile", "--outtype", "--remote")}
    plain = [word for word in words[start + 1 :] if not word.startswith("-") and word not in values - {""}]
    model = _value(words, "--remote") or (plain[0] if plain else "")
    if model and made:
        script.made[_plain(made)] = (_source(script, model), kind)


def _quantize(words: Sequence[str], script: _Script) -> None:
    """`llama-quantize [FLAGS] IN OUT TYPE [THREADS]`."""
    matrix = _value(words, "--imatrix")
    plain = [word for word in words[1:] if not word.startswith("-") and (word != matrix or not matrix)]
    found = next((index for index, word in enumerate(plain) if word.lower().endswith(".gguf")), None)
    if found is not None and len(plain) > found + 2:
        script.made[_plain(plain[found + 1])] = (_source(script, plain[found]), plain[found + 2].lower())


def _to_mlx(words: Sequence[str], script: _Script) -> None:
    """`mlx_lm.convert --hf-path MODEL -q --q-bits 4 --mlx-path FOLDER`."""
    model, made = _value(words, "--hf-path", "--model"), _value(words, "--mlx-path") or "mlx_model"
    quantized = "-q" in words or "--quantize" in words
    mode = _value(words, "--q-mode")
    bits = _value(words, "--q-bits") or "4"
    group = _value(words, "--q-group-size")
    name = mode if mode in {"mxfp4", "nvfp4"} else f"mlx-{bits}bit" + (f"-g{group}" if group and group != "64" else "")
    if model:
        script.made[_plain(made)] = (model, name if quantized else "")


CONVERSIONS: dict[str, Callable[[Sequence[str], _Script], None]] = {
    "hf": _download,
    "huggingface-cli": _download,
    "convert_hf_to_gguf.py": _to_gguf,
    "convert-hf-to-gguf.py": _to_gguf,
    "llama-quantize": _quantize,
    "mlx_lm.convert": _to_mlx,
}
"""Programs that make or fetch a model, and how they are followed."""
