"""What `sizer check` answers, offline."""

from __future__ import annotations

import sizer
from sizer.answer.document import CheckAnswer


def answer(command: str, device: str) -> CheckAnswer:
    """The verdict of a command on a device."""
    return sizer.check(command, device=device, offline=True)
