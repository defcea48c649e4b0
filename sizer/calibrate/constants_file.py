"""The constants document as text: JSON with a row a line, so that a change of one constant is a change of one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def constants_text(document: Mapping[str, Any]) -> str:
    """The document as JSON text, lists of rows and maps of counts written line by line."""
    return _value(document, 0) + "\n"


def _value(value: Any, depth: int) -> str:
    inner = " " * (depth + 1)
    if isinstance(value, Mapping) and value:
        cells = [f"{inner}{json.dumps(key)}: {_value(one, depth + 1)}" for key, one in value.items()]
        return "{\n" + ",\n".join(cells) + "\n" + " " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + json.dumps(row) for row in value) + "\n" + " " * depth + "]"
    return json.dumps(value)
