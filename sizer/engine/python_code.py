"""Python code that loads a model, read as a syntax tree: the arguments of a few calls become an engine's flags.

Nothing is executed; only literals, `torch` types, variables that hold them, defaults of command-line arguments and
calls that make a configuration are understood. Which calls load a model is `data/python_calls.csv`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sizer.engine.commands import with_model
from sizer.engine.engines import find_engine
from sizer.engine.flag_table import find_flag
from sizer.engine.flag_values import JSON_KINDS
from sizer.engine.flags import options_of, read_flags
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError
from sizer.frozen import NamedTuple
from sizer.tables import read_rows

MODEL_NAMES = (
    "model", "pretrained_model_name_or_path", "model_path", "model_name_or_path", "model_name", "repo_id",
    "model_source", "model_id",
)  # fmt: skip
NESTED = frozenset({"model_kwargs", "options", "model_loading_config", "engine_kwargs"})
"""Arguments that hold further ones in a dictionary."""
CONSTANTS_OF = frozenset({"torch", "llama_cpp"})
"""Modules whose attributes stand for their names (`torch.float16`)."""
CONFIGS = {
    "BitsAndBytesConfig": "", "TurbomindEngineConfig": "", "PytorchEngineConfig": "",
    "KvCacheConfig": "kv_cache_config.", "dict": "",
}  # fmt: skip
"""Calls whose arguments are flags too, by their names behind these words."""

Named = Mapping[str, ast.expr]


class Loader(NamedTuple):
    """A row of `data/python_calls.csv`: a call that loads a model, whose it is, and the flags that it has by itself.

    It is meant where the code names the module, and where what stands before its dot is the owner (empty: any).
    `silent` arguments change neither memory nor speed. `in_process` says that the engine has other defaults for it than
    for a server.
    """

    call: str
    owner: str
    module: str
    engine: str
    dialects: tuple[str, ...]
    defaults: tuple[str, ...]
    silent: frozenset[str]
    in_process: bool


def read_python(text: str, arguments: Sequence[str] = ()) -> tuple[EngineOptions, str]:
    """The options of the first call that loads a model, and the precision that it quantizes to (empty: none is named).

    `arguments` are those of the script's command line. Raises UsageError.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError("the Python code cannot be read.", "Paste it whole.") from None
    named, hidden = {**_named(tree), **_typed(arguments)}, ""
    for call, loader in _loads(tree, text):
        words, model, unread = _words(call, named, loader)
        made = _made(call, named)
        if not model:
            hidden = hidden or unread
            continue
        told = [*loader.defaults, *words]
        if "--load-in-4bit" in words and not any(word.startswith("--bnb-4bit-quant-type") for word in told):
            words += ["--bnb-4bit-quant-type", "fp4"]  # BitsAndBytesConfig's own; the commands' is nf4
        read = read_flags(loader.dialects, [*loader.defaults, *words])
        options = options_of(loader.engine, "", read, loader.dialects)
        options = replace(options, in_process=True) if loader.in_process else options
        return with_model(options if options.model else replace(options, model=model), read), made
    if hidden:
        raise UsageError(f"the model is {hidden!r:.80}, which only running the code tells.", "Write its name there.")
    calls = ", ".join(dict.fromkeys(row["call"] for row in read_rows("python_calls.csv")))
    raise UsageError("the Python code loads no model that sizer can see.", f"It looks for {calls}.")


def _named(tree: ast.AST) -> dict[str, ast.expr]:
    """What variables hold, by their names, and the defaults of command-line arguments, by theirs behind a dot."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            found.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.Call) and _name(node.func) == "add_argument":
            default = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
            flags = [str(_value(argument)) for argument in node.args]
            if default is not None:
                found.update({"." + flag.lstrip("-").replace("-", "_"): default for flag in flags if flag[:1] == "-"})
    return found


def _typed(arguments: Sequence[str]) -> dict[str, ast.expr]:
    """What a script's command line gives its arguments, `--tp 4` or `--tp=4`, as `_named` has their defaults."""
    found: dict[str, ast.expr] = {}
    for index, word in enumerate(arguments):
        name, sign, value = word.partition("=")
        if name[:2] == "--":
            following = "".join(arguments[index + 1 : index + 2])
            text = value if sign else "True" if following[:2] == "--" or not following else following
            found["." + name.lstrip("-").replace("-", "_")] = ast.Constant(_literal(text))
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _loaders() -> Iterator[Loader]:
    for row in read_rows("python_calls.csv"):
        dialects = tuple(row["dialects"].split()) or find_engine(row["engine"]).flags
        defaults, silent = tuple(row["defaults"].split()), frozenset(row["silent"].split())
        yield Loader(
            row["call"],
            row["owner"],
            row["module"],
            row["engine"],
            dialects,
            defaults,
            silent,
            row["in_process"] == "yes",
        )


def _loads(tree: ast.AST, text: str) -> Iterator[tuple[ast.Call, Loader]]:
    """The calls that load a model, in their order; tokenizers and processors load none."""
    rows = [row for row in _loaders() if row.module in text]
    imports = [name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names]
    meant = {name.asname: name.name for name in imports if name.asname}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        owner = _name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        owner, called = meant.get(owner, owner), meant.get(_name(node.func), _name(node.func))
        found = [row for row in rows if row.call == called and row.owner in {"", owner}]
        if found and not owner.endswith(("Tokenizer", "Processor", "Config")):
            yield node, found[0]


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _arguments(call: ast.Call) -> dict[str, ast.expr]:
    """The named arguments of a call, those in a dictionary of theirs too."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    for name in NESTED & set(given):
        inner = given.pop(name)
        if isinstance(inner, ast.Dict):
            pairs = zip(inner.keys, inner.values, strict=True)
            given |= {str(_value(key)): value for key, value in pairs if key is not None}
        elif isinstance(inner, ast.Call):  # dict(model_id=...)
            given |= {keyword.arg: keyword.value for keyword in inner.keywords if keyword.arg}
    return given


def _made(call: ast.Call, named: Named) -> str:
    """The precision that a call's `quantization_config` quantizes to; empty for none, and for bitsandbytes' own."""
    from sizer.engine.python_quantization import made_by

    node = _followed(_arguments(call).get("quantization_config"), named)
    if not isinstance(node, ast.Call) or _name(node.func) in {*CONFIGS, "dict"}:
        return ""
    told = {keyword.arg: _told(keyword.value, named) for keyword in node.keywords if keyword.arg}
    if node.args:
        told[""] = _told(node.args[0], named)
    return made_by(_name(node.func), told)


def _followed(node: ast.expr | None, named: Named) -> ast.expr | None:
    return named.get(node.id, node) if isinstance(node, ast.Name) else node


def _told(node: ast.expr, named: Named) -> Any:
    """A value, or the name of the class that is called for one (`Int4WeightOnlyConfig(group_size=128)`)."""
    node = _followed(node, named) or node
    return _name(node.func) if isinstance(node, ast.Call) else _value(node, named)


def _words(call: ast.Call, named: Named, loader: Loader) -> tuple[list[str], str, str]:
    """The flags that a call's arguments stand for, its model, and the model's code where it is no literal."""
    given = {name: node for name, node in _arguments(call).items() if name not in loader.silent}
    model, unread = _take_model(call, given, named)
    given.pop("model_id", None)  # what clients call it, beside a source
    words: list[str] = []
    for name, argument in given.items():
        words += _flags_of(name, _followed(argument, named) or argument, named, loader)
    return words, model, unread


def _take_model(call: ast.Call, given: dict[str, ast.expr], named: Named) -> tuple[str, str]:
    """The model that a call loads, by a keyword that is taken out of `given` or as its last text, and its code where it
    is no literal."""
    model = unread = ""
    for name in (name for name in MODEL_NAMES if name in given and not model):
        node = given.pop(name)
        model = str(_value(node, named) or "")
        unread = unread or ("" if model else ast.unparse(node))
    if not model:
        texts = [value for argument in call.args if isinstance(value := _value(argument, named), str)]
        model = texts[-1] if texts else ""
        unread = unread or (ast.unparse(call.args[-1]) if call.args else "")
    return model, unread


def _flags_of(name: str, node: ast.expr, named: Named, loader: Loader) -> list[str]:
    """The flags of one argument: those of its parts where it is a record of settings."""
    prefix = CONFIGS.get(_name(node.func)) if isinstance(node, ast.Call) else None
    if name == "quantization_config" and isinstance(inner := _value(node, named), dict):
        parts = {str(key): value for key, value in inner.items()}
    elif isinstance(node, ast.Call) and prefix is not None:
        parts = {f"{prefix}{keyword.arg}": _value(keyword.value, named) for keyword in node.keywords}
    else:
        parts = {name: _value(node, named)}
    return [word for part, value in parts.items() for word in _flag(part, value, loader.dialects)]


def _flag(name: str, value: Any, dialects: Sequence[str]) -> list[str]:
    """An argument as a flag; what is no literal is left out."""
    flag = "--" + name.replace("_", "-")
    if value is None or name == "quantization_config":
        return []
    match = find_flag(dialects, flag)
    if match is None and find_flag(dialects, name) is not None:
        return [f"{name}={value}"]  # a parameter of a Modelfile
    if value is True and (match is None or match.flag.kind in {"switch", "toggle", "not"}):
        return [flag]
    if isinstance(value, dict) and match is not None and match.flag.kind in JSON_KINDS:
        return [f"{flag}={json.dumps(value)}"]
    if isinstance(value, dict):
        value = ",".join(f"{key}={size}" for key, size in value.items())
    elif isinstance(value, (list, tuple)):
        value = ",".join(str(item) for item in value)
    return [f"{flag}={value}"]


def _value(node: ast.AST, named: Named | None = None) -> Any:
    """A literal, the name of a `torch` type, or what a variable or a command-line argument holds; None for the rest."""
    if isinstance(node, ast.Name) and named is not None and node.id in named:
        return _value(named[node.id])
    if isinstance(node, ast.Attribute):
        if _name(node.value) in CONSTANTS_OF:
            return node.attr
        default = (named or {}).get("." + node.attr)
        return None if default is None else _value(default)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
