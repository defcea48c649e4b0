"""What every test gets: a user data folder of its own, so that no test reads or writes the user's measurements."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Point the user's data folder at a temporary one, for child processes too."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))
