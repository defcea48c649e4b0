"""`sizer web` serves to this machine, says where, and refuses what it cannot do in one line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
from clirun import Run

pytest.importorskip("uvicorn")


def test_serves_and_stops() -> None:
    """The printed address answers with the page and the API; an interrupt ends it at once."""
    words = [sys.executable, "-m", "sizer", "web", "--port", "0", "--no-browser", "--offline"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().strip()
        try:
            assert address.startswith("http://127.0.0.1:")
            with urlopen(address) as page:
                assert b"<main" in page.read()
            with urlopen(f"{address}api/estimate?model=8B&device=a100&precision=q4_k_m") as answer:
                assert json.load(answer)["model"]["total_params"] == 8_000_000_000
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(150)


def test_a_taken_port_is_told(run: Run) -> None:
    """A port that another program holds is one line and exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("web", "--port", str(taken.getsockname()[1]), "--no-browser", "--offline")
    assert result.code == 2
    assert "cannot listen" in result.err
    assert result.err.count("\n") <= 2


def test_pyodide_is_for_a_site(run: Run) -> None:
    """--pyodide without --export, and an export over other files, are refused."""
    result = run("web", "--pyodide", "somewhere", "--no-browser")
    assert result.code == 2
    assert "--export" in result.err
