"""`sizer` and `python -m sizer`: Ctrl-C while the program is still loading ends it as it does later."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` takes a while to load, and nothing is guarded until `main` runs
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line. It takes a moment to load: an interrupt there has no traceback either."""
    try:
        import signal

        previous = signal.getsignal(signal.SIGINT)
        if previous is signal.default_int_handler:  # a shell's background job ignores it, and is left so
            signal.signal(signal.SIGINT, _leave)
        from sizer.cli import main as run

        signal.signal(signal.SIGINT, previous)
    except KeyboardInterrupt:
        _leave()
    run()


def _leave(*_: object) -> None:
    """Nothing is begun yet, so nothing is left behind."""
    try:
        os.write(2, b"sizer: interrupted.\n")
    finally:
        os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
