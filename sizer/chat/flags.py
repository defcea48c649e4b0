"""Generate flags as `transformers chat` takes them: `do_sample=False max_new_tokens=10 eos_token_id=[1,2]`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sizer.errors import UsageError, did_you_mean

_WORDS = {"true": True, "false": False, "none": None, "null": None}


def parse_flags(texts: Sequence[str]) -> dict[str, Any]:
    """The flags by name: booleans, None, numbers, lists and objects in JSON's or Python's spelling, else text.

    >>> parse_flags(["do_sample=False", "max_new_tokens=10", "cache_implementation=static"])
    {'do_sample': False, 'max_new_tokens': 10, 'cache_implementation': 'static'}
    """
    flags: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"{text!r} is no generate flag.", "Write name=value, as do_sample=False.")
        flags[name] = _value(value)
    return flags


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, list, dict, str)) else text


def check_flags(flags: dict[str, Any], known: Iterable[str]) -> None:
    """UsageError for a flag that generate() does not have."""
    names = list(known)
    for name in flags:
        if name not in names:
            raise UsageError(f"generate() has no flag {name!r}.", did_you_mean(name, names))
