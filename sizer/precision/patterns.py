"""Module names against the exception lists of quantized checkpoints: plain names, wildcards, regular expressions.

The lists come from downloaded configs: expressions that can backtrack without end are refused (`sizer.regex`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import cached_property

from sizer.errors import InvalidConfig
from sizer.frozen import dataclass
from sizer.regex import outside_pattern

MAX_PATTERN_CHARS = 512
MAX_PATTERNS = 200_000
MOST_WILDCARDS = 6
"""Bounds of patterns from a config: what is longer, more or wilder would take minutes to match."""

# Wrappers that checkpoints and model classes write differently around the same text layers.
_WRAPPERS = re.compile(r"^(?:(?:model|language_model|text_model|decoder|transformer)\.)+")


def bare(name: str) -> str:
    """A module name without the wrappers before its layers."""
    return _WRAPPERS.sub("", name)


@dataclass(frozen=True)
class Names:
    """A list of module names or patterns; `in` asks whether a module is listed, itself or within a listed one."""

    entries: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: object, field: str) -> Names:
        """The list as a config gives it. Raises InvalidConfig for anything but a list of short strings."""
        if value is None:
            return cls(())
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_PATTERNS:
            raise InvalidConfig(f"quantization_config field {field!r} is no list of names.", "It must list modules.")
        for entry in value:
            if not isinstance(entry, str) or len(entry) > MAX_PATTERN_CHARS:
                raise InvalidConfig(f"quantization_config field {field!r} holds {str(entry)[:80]!r}.", "Give names.")
        return cls(tuple(value))

    @cached_property
    def plain(self) -> frozenset[str]:
        """The entries without wildcards."""
        return frozenset(bare(entry.removesuffix(".weight")) for entry in self.entries if not _is_pattern(entry))

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The wildcards and expressions, compiled."""
        return tuple(_compile(entry) for entry in dict.fromkeys(self.entries) if _is_pattern(entry))

    @property
    def by_layer(self) -> bool:
        """Whether an entry names a layer by its number, so that layers may differ."""
        return any(any(character.isdigit() for character in entry) for entry in self.entries)

    def __contains__(self, module: object) -> bool:
        if not isinstance(module, str) or not self.entries:
            return False
        name = bare(module)
        if any(part in self.plain for part in _parts(name)):
            return True
        return any(pattern.match(name) or pattern.match(module) for pattern in self.patterns)


def _parts(name: str) -> Iterable[str]:
    """Every run of whole components of a dotted name."""
    pieces = name.split(".")
    for start in range(len(pieces)):
        for stop in range(start + 1, len(pieces) + 1):
            yield ".".join(pieces[start:stop])


def _is_pattern(entry: str) -> bool:
    return entry.startswith("re:") or "*" in entry or "?" in entry


def _compile(entry: str) -> re.Pattern[str]:
    """A wildcard or `re:` entry as an expression over bare names. Raises InvalidConfig for a hostile one."""
    if not entry.startswith("re:"):
        if entry.count("*") > MOST_WILDCARDS:
            raise InvalidConfig(f"quantization_config holds the pattern {entry[:80]!r}.", "It has too many wildcards.")
        wildcard = translate(bare(entry)).removesuffix(r"\Z").removesuffix(r"\z")
        return re.compile(rf"{wildcard}(?:\..*)?$")
    try:
        return outside_pattern(entry[3:])
    except ValueError as error:
        raise InvalidConfig(f"quantization_config holds the pattern {entry[:80]!r}: {error}.", "Mend it.") from None
