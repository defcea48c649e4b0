"""Configuration files that a command names (`vllm serve --config FILE`): each setting becomes a word of the command.

Which flags name such a file is a row of `data/engine_flags.csv`: of kind `settings` where the command's own flags win,
`settings!` where the file does (TensorRT-LLM and koboldcpp lay it over what the command says).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sizer.engine.flag_table import Flag, find_flag
from sizer.engine.flag_values import SETTINGS_FILES, SEVERAL_WORDS
from sizer.errors import UsageError

Reader = Callable[[str], "str | None"]
"""The text of a file by the name that a command gives it; None where there is none, or none may be read."""


def with_settings(
    dialects: Sequence[str], words: Sequence[str], read_file: Reader
) -> tuple[list[str], tuple[str, ...]]:
    """The words with those of the configuration files that they name: before them, or after where the file wins.

    Beside them the flags whose files are not there. Raises UsageError for a file that holds no settings.
    """
    before: list[str] = []
    after: list[str] = []
    missing: list[str] = []
    for flag, name in _named(dialects, words):
        text = read_file(name)
        if text is None:
            missing.append(f"{flag.written} {name}")
        else:
            (after if flag.kind.endswith("!") else before).extend(_words(dialects, text, name))
    return [*before, *words, *after], tuple(missing)


def _named(dialects: Sequence[str], words: Sequence[str]) -> Iterator[tuple[Flag, str]]:
    """The flags that name a configuration file, with its name."""
    for index, word in enumerate(words):
        spelling, sign, attached = word.partition("=")
        found = find_flag(dialects, spelling) if word.startswith("-") else None
        if found is not None and found.flag.kind in SETTINGS_FILES:
            yield found.flag, attached if sign else next(iter(words[index + 1 :]), "")


def _words(dialects: Sequence[str], text: str, name: str) -> list[str]:
    """The settings of a file as words: JSON or YAML, a mapping of long flags."""
    told = _read(text)
    if not isinstance(told, Mapping):
        raise UsageError(f"{name!r:.200} holds no settings.", "It is a mapping: --flags without dashes, and values.")
    try:
        return [word for key, value in _settings(dialects, told, "") for word in _setting(dialects, key, value)]
    except ValueError:  # Python writes out no more than 4,300 digits
        raise UsageError(f"{name!r:.200} holds a number of too many digits.", "Shorten it.") from None


def _read(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # YAML's own braces
    from sizer.engine.yaml_text import read_yaml

    return next(iter(read_yaml(text)), None)


def _settings(
    dialects: Sequence[str], told: Mapping[Any, Any], outer: str, depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Each setting by its name; a mapping that is no flag's value counts by its parts: `kv_cache_config.dtype`."""
    for key, value in told.items():
        name = f"{outer}{key}"
        if isinstance(value, Mapping) and find_flag(dialects, f"--{name}") is None and depth < 4:
            yield from _settings(dialects, value, f"{name}.", depth + 1)
        else:
            yield name, value


def _setting(dialects: Sequence[str], name: str, value: Any) -> list[str]:
    """One setting as words; one that is set to nothing is none."""
    flag = f"--{name}"
    if value is None or (isinstance(value, (str, list)) and not value):
        return []
    match = find_flag(dialects, flag)
    if isinstance(value, bool):
        return [f"{flag}={str(value).lower()}"]
    if isinstance(value, list):
        texts = [str(entry) for entry in value if not isinstance(entry, (list, dict))]
        several = match is not None and (match.flag.kind in SEVERAL_WORDS or match.flag.kind == "words")
        return [flag, *texts] if several else [f"{flag}={','.join(texts)}"]
    if isinstance(value, Mapping):
        try:
            return [f"{flag}={json.dumps(value, default=str)}"]
        except (ValueError, TypeError, RecursionError):  # a mapping that holds itself, keys that are no text
            return []
    return [f"{flag}={value}"]
