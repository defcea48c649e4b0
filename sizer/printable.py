"""Text from outside made safe to show: a config, a file's name or a server's answer never steers a terminal."""

from __future__ import annotations

import re

from sizer.regex import pattern

MOST_SHOWN = 200
"""Characters of somebody's text that a message repeats."""
MOST_SAID = 1000
"""Characters of a whole message."""

# C0 controls but tab and newline, DEL and C1, bidirectional marks, embeddings, overrides and isolates, lone surrogates.
_UNSAFE = pattern("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_LONG_WORD = pattern(rf"\S{{{MOST_SHOWN + 1},}}")
_LINE_BREAKS = pattern(r"[\n\t]")
_SECRET_IN_URL = pattern(r"(\w+://[^\s/:@]*:)[^\s/@]+@")

_HARMLESS = {ord("\n"): None, ord("\t"): None}


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def printable(text: str) -> str:
    r"""The text with control characters and bidirectional marks written as `\u001b`: valid inside JSON too.

    >>> printable("a\x1b[31mb")
    'a\\u001b[31mb'
    """
    if text.translate(_HARMLESS).isprintable():
        return text  # most are: no expression has to be compiled
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""The text on one line, safe to show, a password in a URL masked.

    >>> one_line("a\nb https://me:secret@host/x")
    'a\\nb https://me:***@host/x'
    """
    flat = _LINE_BREAKS.sub(lambda match: {"\n": "\\n", "\t": "\\t"}[match[0]], text)
    return _SECRET_IN_URL.sub(r"\1***@", printable(flat))


def shown(value: object, most: int = MOST_SHOWN) -> str:
    """Somebody's value as a message repeats it: quoted, on one line, cut at `most` characters and marked so."""
    text = one_line(repr(value))
    return text if len(text) <= most else f"{text[:most]}..."


def shortened(message: str) -> str:
    """A message that repeats somebody's endless text: words cut at 200 characters, the whole at 1,000."""
    cut = _LONG_WORD.sub(lambda match: f"{match[0][:MOST_SHOWN]}...", message)
    return cut if len(cut) <= MOST_SAID else f"{cut[:MOST_SAID]}..."
