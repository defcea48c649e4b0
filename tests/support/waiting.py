"""How long a test waits on a machine that others use too."""

from __future__ import annotations

import os


def slower() -> float:
    """How many times longer things take here than on a machine of their own: as many as programs share a core."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
