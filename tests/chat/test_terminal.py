"""`sizer chat` in a pseudo-terminal, with a model and a tokenizer made in the test."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tinymodels import save_model

pytestmark = pytest.mark.oracle

WAIT_S = 300
# Makes the pseudo-terminal the process's own, so that Ctrl-C typed into it becomes a signal.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], [sys.argv[1], '-m', 'sizer', *sys.argv[2:]])"
)


class Terminal:
    """A chat process whose terminal the test holds."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, sys.executable, "chat", *arguments, "--offline", "--device", "cpu"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TERM": "dumb"},
        )
        os.close(slave)
        self.shown = ""

    def until(self, pattern: str, start: int = 0) -> str:
        """Read until `pattern` is shown after position `start`; what was shown from there on."""
        deadline = time.monotonic() + WAIT_S
        while not re.search(pattern, self.shown[start:]):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{pattern!r} never came; shown: {self.shown}"
            ready, _, _ = select.select([self.master], [], [], left_s)
            if ready:
                try:
                    self.shown += os.read(self.master, 4096).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    break
        assert re.search(pattern, self.shown[start:]), f"{pattern!r} never came; shown: {self.shown}"
        return self.shown[start:]

    def type(self, text: str) -> int:
        """Type, and tell where the reaction will start."""
        start = len(self.shown)
        os.write(self.master, text.encode())
        return start

    def leave(self, text: str) -> int:
        """Type the last thing, as often as it takes, and give the exit status.

        A Ctrl-C that comes after the prompt is drawn and before readline listens waits for the next key.
        """
        for _ in range(WAIT_S // 2):
            with contextlib.suppress(OSError):
                self.type(text)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(2)
        raise AssertionError(f"the chat does not end; shown: {self.shown}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny random chat model on disk."""
    return str(save_model(tmp_path_factory.mktemp("chat") / "tiny"))


def test_conversation(model: str, tmp_path: Path):
    """Two turns, the speed beside the prediction, /stats, /save and Ctrl-D, all in one session."""
    saved = tmp_path / "chat.json"
    options = ["do_sample=False", "max_new_tokens=5", "--precision", "bf16", "--system", "Be kind."]
    with Terminal(model, *options) as chat:
        chat.until("> ")
        start = chat.type("hello\n")
        shown = chat.until(r"\[5 tokens, [0-9.]+ tokens/s \((predicted|no prediction)[^]]*\]", start)
        assert "first after" in shown
        start = chat.type("how are you\n")
        chat.until(r"\[5 tokens", start)
        start = chat.type("/stats\n")
        chat.until(r"2 answers, 10 tokens", start)
        start = chat.type(f"/save {saved}\n")
        chat.until("Saved to", start)
        assert chat.leave("\x04") == 0
    roles = re.findall(r'"role": "(\w+)"', saved.read_text(encoding="utf-8"))
    assert roles == ["system", "user", "assistant", "user", "assistant"]


def test_interrupt_stops_the_answer_then_leaves(tmp_path: Path):
    """Ctrl-C during an answer stops that answer alone; at the prompt it leaves with status 0."""
    # Words come as they are finished: sampled tokens make words early, greedy ones may make one word of the answer.
    # The answer is far too long to be over before the interrupt comes, however late that is.
    words = ("do_sample=True", "temperature=9.0", "max_new_tokens=90000")
    model = str(save_model(tmp_path / "long", max_position_embeddings=100_000))
    with Terminal(model, *words, "--precision", "fp32") as chat:
        chat.until("> ")
        start = chat.type("hello\n")
        chat.until(r"hello\s+\S", start)
        start = chat.type("\x03")
        shown = chat.until(r"\[\d+ tokens[^]]*first[^]]*\]\s+> ", start)
        assert "stopped]" in shown
        assert chat.leave("\x03") == 0


def _piped(folder: str, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sizer", "chat", folder, "--offline", "--device", "cpu", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def test_recommended_precision_is_loaded_and_said(model: str):
    """Without --precision the one that recommend chooses is loaded, and the reason is told."""
    done = _piped(model, "hi\n/exit\n", "max_new_tokens=2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Loading .* at (fp32|bf16|fp16|int8|nf4) \(.+\) \.\.\.", done.stderr)
    assert "[2 tokens" in done.stderr


def test_model_without_template_is_told(tmp_path: Path):
    """A tokenizer without a chat template ends the command with a model error that says so."""
    folder = str(save_model(tmp_path / "base", template=None))
    done = _piped(folder, "", "--precision", "bf16")
    assert done.returncode == 3
    assert "no chat template" in done.stderr


def test_template_without_system_turn_is_told(tmp_path: Path):
    """A template that refuses the system turn is named, and the chat goes on."""
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    folder = str(save_model(tmp_path / "strict", template=refusing))
    done = _piped(folder, "hi\n", "--precision", "bf16", "--system", "s")
    assert done.returncode == 0
    assert "no system" in done.stderr
    assert "--system" in done.stderr


def test_unknown_flag_is_a_usage_error(model: str):
    """A misspelt generate flag is found before anything is loaded."""
    done = _piped(model, "", "max_new_token=2", "--precision", "bf16")
    assert done.returncode == 2
    assert "'max_new_tokens'" in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i * j }}{% endfor %}{% endfor %}",
        "{{ 1 // 0 }}",
        "{{ none.x.y }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
    ids=["loops", "divides", "undefined", "recurses"],
)
def test_a_template_that_fails_or_loops_costs_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str):
    """The turn that the template chokes on is told and lost; the next one is answered."""
    from sizer.benchmark.plan import Asked, spec_of
    from sizer.chat import model as chat_model
    from sizer.chat.session import Session
    from sizer.model.read.resolve import resolve

    def lines() -> Iterator[str]:
        """The choking turn with little time, the next with as much as a busy machine takes."""
        monkeypatch.setattr(chat_model, "TEMPLATE_LIMIT_S", 0.5)
        yield "choke"
        monkeypatch.setattr(chat_model, "TEMPLATE_LIMIT_S", 300.0)
        yield "go on"

    choking = "{% if messages[-1].content == 'choke' %}" + body + "{% endif %}hello"
    folder = str(save_model(tmp_path / "choking", template=choking))
    asked = Asked(model=folder, device="cpu", precision="fp32", offline=True)
    spec = spec_of(asked, resolve(folder, offline=True))
    told: list[str] = []
    loaded = chat_model.ChatModel(spec, {"max_new_tokens": 2}, lambda _prompt, _output: None, lambda _text: None)
    Session(loaded, told.append).run(lines())
    assert "chat template" in told[0]
    assert told[0].count("\n") <= 1
    assert told[1].startswith("[2 tokens")


def test_without_a_network_the_chat_ends_at_once(tmp_path: Path):
    """A hub that refuses connections and an empty cache: two lines and exit code 3, none of the client's retries."""
    done = subprocess.run(
        [sys.executable, "-m", "sizer", "chat", "Qwen/Qwen3-0.6B", "--device", "cpu", "--precision", "bf16"],
        input="",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
    )
    assert done.returncode == 3
    assert "Retrying" not in done.stderr
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["The", "Loading", "sizer:"]
