"""Lines no wider than a terminal: prose goes on under itself, a command to type goes on behind a backslash."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from sizer.regex import pattern

WIDEST, NARROWEST = 100, 80
"""Columns of a page: the terminal's, within these; the widest where a file or a pipe reads it."""
_INDENT = pattern(r"\s*(?:[-#*] )?\s*")
_WORDS = pattern(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:\\.|[^"\\])*")+|\S""")


def page_width() -> int:
    """Columns that a line may take."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return WIDEST
    return min(WIDEST, max(NARROWEST, columns))


def wrapped(page: str, width: int | None = None) -> str:
    """The page with each line that is too long continued, indented, on the next; one long word stays whole.

    >>> wrapped("- one two three", 10)
    '- one two\\n  three'
    """
    most = width or page_width()
    return "\n".join(
        part for line in page.split("\n") for part in (_folded(line, most) if len(line) > most else [line])
    )


def _folded(line: str, width: int) -> list[str]:
    from textwrap import wrap

    found = _INDENT.match(line)
    lead = found[0] if found else ""
    comment = lead if "#" in lead else " " * max(2, len(lead))
    return wrap(line, width, subsequent_indent=comment, break_long_words=False, break_on_hyphens=False) or [line]


def typed(command: str, width: int | None = None) -> str:
    r"""Lines to type, those that are too long broken before an option by a backslash: a shell takes them as they stand.

    >>> print(typed("vllm serve a --dtype b", 16))
    vllm serve a \
        --dtype b
    """
    most = width or page_width()
    return "\n".join(
        line if len(line) <= most or line.startswith("#") else " \\\n".join(_broken(line, most - 2))
        for line in command.split("\n")
    )


def _broken(line: str, width: int) -> Iterator[str]:
    """The parts of a line, each behind the first four columns further in."""
    indent = " " * (len(line) - len(line.lstrip()))
    part = ""
    for group in _groups(_WORDS.findall(line)):
        longer = f"{part} {group}" if part else f"{indent}{group}"
        if part and len(longer) > width:
            yield part
            longer = f"{indent}    {group}"
        part = longer
    yield part


def _groups(words: list[str]) -> Iterator[str]:
    """Options with their values: what should stay on one line."""
    group: list[str] = []
    for word in words:
        if group and (word.startswith("-") or not group[0].startswith("-") or len(group) > 1):
            yield " ".join(group)
            group = []
        group.append(word)
    if group:
        yield " ".join(group)
