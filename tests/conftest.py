"""What tests share: a user data folder of its own, so that none touches the user's measurements, and the command."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from clirun import Result, Run
from hypothesis import HealthCheck, settings

from sizer.cli import main

# A shell's background job ignores Ctrl-C, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure (time is watched by the benchmarks), and neither is a tree that cannot be written to. The
# examples are the same in every run; `--hypothesis-profile=random` draws others.
settings.register_profile("random", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any-machine", settings.get_profile("random"), derandomize=True)
settings.load_profile("any-machine")

SLOWEST = ("web", "benchmark", "chat", "serving", "calibrate", "advise")
"""Rooms whose tests take seconds each, the slowest first."""
DEALT_AT_ONCE = 8
"""Tests that a worker is given at a time: the first eighth of all, xdist's own, would be one worker's and all slow."""


def pytest_configure(config: pytest.Config) -> None:
    """Deal tests to workers a few at a time, unless asked otherwise."""
    if getattr(config.option, "maxschedchunk", 0) is None:
        config.option.maxschedchunk = DEALT_AT_ONCE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow rooms first: workers that share the tests then end together, on short ones."""
    here = Path(__file__).parent
    order = {here / room: place for place, room in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path.parent, len(order)))


@pytest.fixture(autouse=True, scope="session")
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Point the user's data folder at a temporary one, for child processes too."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def own_hub_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's --timeout ends with its test."""
    monkeypatch.setenv("SIZER_HUB_TIMEOUT", "")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `sizer ARGS` in this process."""

    def call(*args: str) -> Result:
        with pytest.raises(SystemExit) as stopped:
            main(list(args))
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call
