"""Records as JSON: the same names, no rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def to_json(record: Any) -> Any:
    """A record or scalar as plain JSON values; a number that is not finite becomes null."""
    named = _named(record)
    if named is not None:
        return {str(name): to_json(value) for name, value in named.items()}
    if isinstance(record, Enum):
        return record.value
    if isinstance(record, (tuple, list)):
        return [to_json(value) for value in record]
    if isinstance(record, float) and not math.isfinite(record):
        return None
    return record


def _named(record: Any) -> Mapping[Any, Any] | None:
    """The named values of a dataclass, a named tuple or a mapping; None of anything else."""
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, tuple) and hasattr(record, "_asdict"):
        return dict(record._asdict())
    return record if isinstance(record, dict) else None


def dumps(record: Any) -> str:
    """A record as indented JSON text."""
    import json

    return json.dumps(to_json(record), indent=2, ensure_ascii=False, allow_nan=False)
