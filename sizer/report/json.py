"""Records as JSON: the same names, no rounding."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def to_json(record: Any) -> Any:
    """A record (dataclass, tuple, mapping or scalar) as plain JSON values; a number that is not finite becomes null."""
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: to_json(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, Enum):
        return record.value
    if isinstance(record, dict):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (tuple, list)):
        return [to_json(value) for value in record]
    if isinstance(record, float) and not math.isfinite(record):
        return None
    return record


def dumps(record: Any) -> str:
    """A record as indented JSON text."""
    import json

    return json.dumps(to_json(record), indent=2, ensure_ascii=False, allow_nan=False)
