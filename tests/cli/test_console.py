"""A console's code page: what it lacks is written as people type it, what nobody types as a question mark."""

from __future__ import annotations

import io
import sys

import pytest

from sizer.cli.console import print_what_can_be_printed

TEXT = "2\u00d7 RTX 4090 \u2192 \u2264 24 GiB \u2026 gr\u00f6\u00dfe \u6a21\u578b \u2013 \u00b1 5 %"
PRINTED = {
    "utf-8": TEXT,
    "cp1252": "2\u00d7 RTX 4090 -> <= 24 GiB \u2026 gr\u00f6\u00dfe ?? \u2013 \u00b1 5 %",
    "cp437": "2x RTX 4090 -> \u2264 24 GiB ... gr\u00f6\u00dfe ?? - \u00b1 5 %",
    "cp936": "2\u00d7 RTX 4090 \u2192 \u2264 24 GiB \u2026 gr??e \u6a21\u578b \u2013 \u00b1 5 %",
    "ascii": "2x RTX 4090 -> <= 24 GiB ... gr??e ?? - +- 5 %",
}


@pytest.mark.parametrize("encoding", PRINTED)
def test_signs_are_printed_as_plainly_as_needed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each encoding prints what it has, a sign's plain spelling where it has not, and never raises."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, newline=""))
    print_what_can_be_printed()
    sys.stdout.write(TEXT)
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding) == PRINTED[encoding]
