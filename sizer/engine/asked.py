"""The engine that a user names: a name alone, or with a version and the engine's own flags."""

from __future__ import annotations

from functools import lru_cache

from sizer.engine.engines import find_engine
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownEngine


@lru_cache(maxsize=256)
def engine_asked(text: str) -> EngineOptions:
    """The engine of `NAME`, `NAME@VERSION` or `NAME[@VERSION] FLAGS`. Raises UnknownEngine, UsageError.

    A name alone reads no table of flags.
    """
    try:
        return EngineOptions(find_engine(text).name)
    except UnknownEngine:
        flagged = any(word.startswith("-") or "=" in word for word in text.split()[1:])
        if "@" not in text and not flagged:
            raise
    from sizer.engine.commands import read_engine

    return read_engine(text)
