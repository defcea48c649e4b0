"""What tests of models share: a hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hubserver import Hub, point_client_at, serve

from sizer.model.read import hub_ask


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine that the client points at, and asks again soon."""
    monkeypatch.setattr(hub_ask, "RETRY_WAIT_S", 0.001)
    with serve() as running:
        point_client_at(monkeypatch, running.url, tmp_path)
        yield running
