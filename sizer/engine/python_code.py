"""Python code that loads a model, read as a syntax tree: the arguments of a few calls become an engine's flags.

Nothing is executed; only literals, `torch` types and calls of `BitsAndBytesConfig` are understood.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sizer.engine.engines import find_engine
from sizer.engine.flags import options_of, read_flags
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError

CALLS = {"pipeline": "transformers", "from_pretrained": "transformers", "LLM": "vllm", "Engine": "sglang"}
"""The calls that load a model, and whose they are; an `LLM` imported from tensorrt_llm is TensorRT-LLM's."""
MODEL_NAMES = ("model", "pretrained_model_name_or_path", "model_path", "model_name_or_path")
QUANTIZED = "BitsAndBytesConfig"


def read_python(text: str) -> EngineOptions:
    """The options of the first call that loads a model. Raises UsageError."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError("the Python code cannot be read.", "Paste it whole.") from None
    named = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in _calls(tree):
        engine = CALLS[_name(call.func)]
        if engine == "vllm" and "tensorrt_llm" in text:
            engine = "tensorrt-llm"
        words, model = _words(call, named)
        if "--load-in-4bit" in words and "--bnb-4bit-quant-type" not in words:
            words += ["--bnb-4bit-quant-type", "fp4"]  # BitsAndBytesConfig's own; the commands' is nf4
        if model:
            read = read_flags(find_engine(engine).flags, words)
            options = options_of(engine, "", read)
            return options if options.model else replace(options, model=model)
    raise UsageError(
        "the Python code loads no model that sizer can see.", "It looks for pipeline, from_pretrained, LLM."
    )


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls that load a model, in their order; tokenizers and processors load none."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _name(node.func) not in CALLS:
            continue
        owner = _name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if not owner.endswith(("Tokenizer", "Processor", "Config")):
            yield node


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(call: ast.Call, named: dict[str, ast.expr]) -> tuple[list[str], str]:
    """The flags that a call's arguments stand for, and its model."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    inner = given.pop("model_kwargs", None)
    if isinstance(inner, ast.Dict):
        pairs = zip(inner.keys, inner.values, strict=True)
        given |= {str(_value(key)): value for key, value in pairs if key is not None}
    positional = [_value(argument, named) for argument in call.args]
    model = next((str(_value(given.pop(name), named) or "") for name in MODEL_NAMES if name in given), "")
    if not model:
        texts = [value for value in positional if isinstance(value, str)]
        model = texts[-1] if texts else ""
    words: list[str] = []
    for name, argument in given.items():
        node = named.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
        if isinstance(node, ast.Call) and _name(node.func) == QUANTIZED:
            for keyword in node.keywords:
                words += _flag(str(keyword.arg), _value(keyword.value, named))
        else:
            words += _flag(name, _value(node, named))
    return words, model


def _flag(name: str, value: Any) -> list[str]:
    """An argument as a flag; what is no literal is left out."""
    flag = "--" + name.replace("_", "-")
    if value is None or name == "quantization_config":
        return []
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, dict):
        return [flag, ",".join(f"{key}={size}" for key, size in value.items())]
    return [flag, str(value)]


def _value(node: ast.AST, named: dict[str, ast.expr] | None = None) -> Any:
    """A literal, the name of a `torch` type, or a variable's value; None for anything else."""
    if isinstance(node, ast.Name) and named is not None and node.id in named:
        return _value(named[node.id])
    if isinstance(node, ast.Attribute):
        return node.attr
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
