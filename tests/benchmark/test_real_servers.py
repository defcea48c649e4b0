"""The load test against servers that people run, on tiny models made here; skipped where they are not installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from clirun import Run
from randomgguf import write_gguf
from tinymodels import save_model

START_S = 120.0
SERVING = ("transformers", "fastapi", "uvicorn", "openai")

pytestmark = pytest.mark.oracle


@contextmanager
def started(words: Sequence[str], folder: Path) -> Iterator[str]:
    """A server that answers /health at the address given; ended with all that it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*words, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log,
                                  env=environment)  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        ends_s = time.monotonic() + START_S
        while not _answers(f"{url}/health"):
            if server.poll() is not None or time.monotonic() > ends_s:
                pytest.fail(f"{words[0]} did not start: {(folder / 'log').read_text(errors='replace')[-600:]}")
            time.sleep(0.3)
        yield url
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _loads(run: Run, saved: Path, *words: str) -> list[dict[str, object]]:
    done = run("bench", *words, "--duration", "2s", "--output", "8", "--prompt", "24-40", "--offline", "--json",
               "--save", str(saved))  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    validated = run("validate", str(saved), "--json")
    assert json.loads(validated.out)["scored"] == len(told["serving"])
    return list(told["serving"])


def _check(one: dict[str, object]) -> None:
    """Figures that add up: every answer whole, counted by the server, a prediction beside."""
    assert one["failed"] <= 1 + one["requests"] / 20  # type: ignore[operator]  # made-up weights may end after one token
    assert one["requests"] > 0  # type: ignore[operator]
    assert one["output_tokens"] == 8
    assert 20 <= one["prompt_tokens"] <= 80  # type: ignore[operator]
    assert one["predicted"]


@pytest.mark.skipif(
    any(find_spec(name) is None for name in SERVING), reason="transformers serve needs transformers[serving]"
)
@pytest.mark.parametrize("batching", [(), ("--continuous-batching", "--cb-num-blocks", "64", "--cb-block-size", "32")])
def test_transformers_serve_under_users(run: Run, tmp_path: Path, batching: tuple[str, ...]) -> None:
    """It lists no models, refuses fields beyond the standard's and closes its streams without a mark: measured all the
    same. (Left alone, continuous batching takes most of the machine's memory for its cache.)"""
    model = save_model(tmp_path / "tiny")
    words = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--device", "cpu", *batching, str(model)]
    command = f"transformers serve {' '.join(batching)} {model}"
    with started(words, tmp_path) as url:
        one, four = _loads(
            run, tmp_path / "rows.csv", str(model), "--server", url, "--users", "1,4", "--command", command
        )
    _check(one)
    _check(four)
    assert (one["users"], four["users"]) == (1, 4)


@pytest.mark.skipif(shutil.which("llama-server") is None, reason="llama-server is not on PATH")
def test_llama_server_under_users(run: Run, tmp_path: Path) -> None:
    """Four slots, one and eight users: half of the eight wait for a slot, and all are answered."""
    model = write_gguf(tmp_path / "tiny-Q8_0.gguf")
    command = f"llama-server -m {model} -np 4 -c 4096"
    with started(command.split(), tmp_path) as url:
        one, eight = _loads(run, tmp_path / "rows.csv", "--server", url, "--users", "1,8", "--command", command)
        (open_loop,) = _loads(run, tmp_path / "rates.csv", "--server", url, "--rate", "5", "--command", command)
    for load in (one, eight, open_loop):
        _check(load)
