"""Where sizer keeps what it measured and refreshed: the user's data folder of this system."""

from __future__ import annotations

import os
import sys


def user_folder() -> str:
    """The folder; it need not exist yet."""
    system: str = sys.platform
    if system in {"linux", "emscripten"}:  # what platformdirs would say; the browser's Python has none, and it is slow
        base = os.environ.get("XDG_DATA_HOME", "")
        return os.path.join(base if base.strip() else os.path.expanduser("~/.local/share"), "sizer")
    from platformdirs import user_data_dir

    return user_data_dir("sizer", appauthor=False)
