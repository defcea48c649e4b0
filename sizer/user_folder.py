"""Where sizer keeps what it measured and refreshed: the user's data folder of this system."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_folder() -> Path:
    """The folder; it need not exist yet."""
    system: str = sys.platform
    if system in {"linux", "emscripten"}:  # what platformdirs would say; the browser's Python has none, and it is slow
        base = os.environ.get("XDG_DATA_HOME", "")
        return (Path(base) if base.strip() else Path("~/.local/share").expanduser()) / "sizer"
    from platformdirs import user_data_path

    return user_data_path("sizer", appauthor=False)
