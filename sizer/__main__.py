"""`sizer` and `python -m sizer`: Ctrl-C while the program is still loading ends it as it does later."""

from __future__ import annotations

import atexit
import gc
import os
import sys

TYPE_CHECKING = False  # `typing` takes a while to load, and nothing is guarded until `main` runs
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_INTERRUPTED = 130
YOUNG_OBJECTS = 100_000
"""New objects between two searches for circles of garbage: an offline estimate makes fewer, and leaves no circles."""


def main() -> NoReturn:
    """Run the command line. It takes a moment to load: an interrupt there has no traceback either."""
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        import signal

        previous = signal.getsignal(signal.SIGINT)
        if previous is signal.default_int_handler:  # a shell's background job ignores it, and is left so
            signal.signal(signal.SIGINT, _leave)
        from sizer.cli import main as run

        signal.signal(signal.SIGINT, previous)
    except KeyboardInterrupt:
        _leave()
    try:
        run()
    except SystemExit as ended:
        if isinstance(ended.code, int) and _is_alone():
            _end(ended.code)
        raise


def _is_alone() -> bool:
    """Whether no thread is left that Python would wait for."""
    threading = sys.modules.get("threading")
    return threading is None or threading.active_count() == 1


def _end(code: int) -> NoReturn:
    """End with all written and closed, but without taking every module apart: a sixth of an offline estimate."""
    from contextlib import suppress

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none: nobody reads what is left
            stream.flush()
    os._exit(code)


def _leave(*_: object) -> None:
    """Nothing is begun yet, so nothing is left behind."""
    try:
        os.write(2, b"sizer: interrupted.\n")
    finally:
        os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
