"""What a console's code page lacks is written as plainly as it can be: no answer is lost for a character."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

ERRORS = "sizer.plain"
# Typographic signs that stand in texts and tables, as people type them.
PLAIN = {
    "\u00d7": "x", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
    "\u2026": "...", "\u2192": "->", "\u2264": "<=", "\u2265": ">=", "\u2248": "~", "\u00b1": "+-", "\u2022": "*",
    "\u00b7": "*", "\u2212": "-", "\u00b0": " deg", "\u00b5": "u", "\u03bc": "u", "\u2002": " ", "\u00a0": " ",
    "\u2500": "-", "\u2502": "|", "\u2588": "#", "\u2591": ".", "\u2713": "yes", "\u2717": "no",
}  # fmt: skip


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: the sign as it is typed, a question mark for what is no such sign."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wanted = error.object[error.start : error.end]
    written = "".join(PLAIN.get(sign, "?") for sign in wanted)
    return written, error.end


def print_what_can_be_printed() -> None:
    """Let stdout and stderr write what their encoding has, and the rest plainly. UTF-8 is not touched by it."""
    codecs.register_error(ERRORS, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def leave_stdout() -> None:
    """Point stdout at nothing once it takes no more, so that the exit does not complain of what is left in it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
