"""A JSON object from outside: a config.json, a header. What one reader would take otherwise than another is refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

# No size, count or offset needs more; reading longer ones takes time that grows with their square.
MAX_DIGITS = 400
SURROGATE = re.compile("[\ud800-\udfff]")


def loads(raw: bytes, *, strict: bool = False, digits: int = MAX_DIGITS) -> dict[str, Any]:
    """The object that UTF-8 text holds.

    Raises ValueError, whose text says why in a few words: no UTF-8, no JSON, no object, nested too deep, a key that is
    there twice, a number of more than `digits` digits, half a character (a lone surrogate). A byte order mark, `NaN`
    and `Infinity` are no JSON, but configs have them (`time_step_limit`): they are read unless `strict`.
    """

    def whole(text: str) -> int:
        if len(text) > digits:
            raise ValueError(f"a number has {len(text)} digits")
        return int(text)

    try:
        text = raw.decode("utf-8" if strict else "utf-8-sig")
        found = json.loads(
            text, object_pairs_hook=_unique, parse_int=whole, parse_constant=_refuse if strict else float
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    if "\\u" in text:
        _check_text(found)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r:.80} is there twice")
    return table


def _refuse(text: str) -> Any:
    raise ValueError(f"{text:.40} is no JSON")


def _check_text(found: Any) -> None:
    """ValueError where a name or a text holds half a character, which nothing can print."""
    if isinstance(found, str) and SURROGATE.search(found):
        raise ValueError(f"{found!r:.80} is no text: half a character stands in it")
    if isinstance(found, dict):
        for name, value in found.items():
            _check_text(name)
            _check_text(value)
    elif isinstance(found, list):
        for value in found:
            _check_text(value)
