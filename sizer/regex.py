"""Regular expressions that are compiled when first used: compiling all of a start's would take a thirtieth of it."""

from __future__ import annotations

import re
from typing import Any, cast


class _Pattern:
    """Stands for a compiled expression; each method is the expression's own from its first use on."""

    def __init__(self, text: str, flags: int) -> None:
        self._made_of = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._made_of), name)
        setattr(self, name, found)
        return found


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` gives, made when it is first asked for."""
    return cast("re.Pattern[str]", _Pattern(text, flags))
