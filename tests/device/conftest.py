"""What tests of devices share: no test sees or writes a probe of the real machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sizer.device import measured


@pytest.fixture(autouse=True)
def _own_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of a test stay in its folder."""
    monkeypatch.setattr(measured, "folder", lambda: tmp_path / "data")
