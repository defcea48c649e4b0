"""The server backend, against a server that streams at a known pace."""

from __future__ import annotations

import pytest
from benchserver import fake_server

from sizer.benchmark import sse
from sizer.benchmark.records import Outcome, Run, Spec
from sizer.benchmark.server_backend import run
from sizer.benchmark.sse import Server
from sizer.benchmark.summary import measurement
from sizer.errors import BenchmarkFailed, UsageError


def _run(url: str, **options: object) -> Outcome:
    spec = Spec("server", "", server_url=url, prompt_tokens=20, output_tokens=8, repeats=2, **options)  # type: ignore[arg-type]
    return run(spec, lambda _stage: None)


def test_streamed_pace_is_measured():
    """Time to first token and inter-token time are those at which the server sends, not faster."""
    with fake_server() as server:
        server.gap_s = 0.1
        outcome = _run(server.url)
    assert len(outcome.runs) == 2
    assert outcome.decode_steps == 7
    for one in outcome.runs:
        assert one.prefill_s >= server.first_s
        assert one.prefill_s + one.decode_s >= server.first_s + 7 * server.gap_s


def test_true_prompt_length_is_aimed_at():
    """After the warm-up, the prompt is resized so that the server's own count comes to what was asked."""
    with fake_server() as server:
        outcome = _run(server.url)
    assert abs(outcome.prompt_tokens - 20) <= 1
    assert outcome.warmup_runs == 1


def test_no_two_prompts_share_a_prefix():
    """A prefix cache must not help: every request begins differently."""
    with fake_server() as server:
        _run(server.url, concurrency=3)
    starts = [" ".join(body["prompt"].split()[:12]) for body in server.bodies]
    assert len(starts) == 1 + 2 * 3
    assert len(set(starts)) == len(starts)


def test_eos_is_switched_off():
    """The request asks for exactly the wanted tokens, whatever the model would like."""
    with fake_server() as server:
        _run(server.url)
    assert server.bodies
    assert all(body["ignore_eos"] and body["min_tokens"] == body["max_tokens"] == 8 for body in server.bodies)


@pytest.mark.parametrize("behaviour", ["chat-only", "strict"])
def test_lesser_servers_are_understood(behaviour: str):
    """A server with the chat route only, or one that refuses unknown fields, is measured too."""
    with fake_server(behaviour) as server:
        assert len(_run(server.url).runs) == 2


def test_engine_is_told_by_the_server():
    """`owned_by` names the engine; an unknown owner stays an unnamed server."""
    with fake_server(owner="sglang") as server:
        assert _run(server.url).engine == "sglang"
    with fake_server(owner="someone") as server:
        assert _run(server.url).engine == "openai-server"


def test_early_stop_is_said():
    """Answers shorter than asked for are counted as they are, with a warning."""
    with fake_server("early") as server:
        outcome = _run(server.url)
    assert outcome.decode_steps == 3
    assert "early-stop" in [caution.code for caution in outcome.cautions]


def test_answers_in_one_piece_are_left_out():
    """An answer whose tokens all arrive at once has no time per token: it is left out and said, the others count."""
    with fake_server("now-and-then-one-piece") as server:
        server.gap_s = 0.25
        outcome = _run(server.url)
    (timed,) = outcome.runs
    assert timed.decode_s > 0
    assert "one-piece" in [caution.code for caution in outcome.cautions]


def test_only_answers_in_one_piece_are_one_clear_line():
    """Where no answer came over time, the line names the proxy that may hold the stream back."""
    with fake_server("one-piece") as server, pytest.raises(BenchmarkFailed, match="one piece") as failed:
        _run(server.url)
    assert "proxy" in str(failed.value)


def test_vanished_server_is_one_clear_line():
    """A stream that breaks off is an error that names the server."""
    with fake_server("vanish") as server, pytest.raises(BenchmarkFailed, match="went away"):
        _run(server.url)


def test_no_server_is_one_clear_line():
    """Where nothing listens, the error says so."""
    with fake_server() as server:
        url = server.url
    with pytest.raises(BenchmarkFailed, match="No server answers"):
        _run(url)


def test_several_models_must_be_chosen_from():
    """With several models and none named, the error lists them; an unknown name too."""
    with fake_server(models=("a", "b")) as server:
        with pytest.raises(BenchmarkFailed, match="2 models") as caught:
            _run(server.url)
        assert "a, b" in caught.value.hint
        with pytest.raises(BenchmarkFailed, match="no model 'c'"):
            run(Spec("server", "c", server_url=server.url, output_tokens=8), lambda _stage: None)


def test_the_only_model_is_asked_under_the_server_s_name():
    """What the user names is for the prediction: a server with one model may call it what it likes."""
    with fake_server(models=("qwen3:8b",)) as server:
        spec = Spec("server", "Qwen/Qwen3-8B", server_url=server.url, output_tokens=8)
        outcome = run(spec, lambda _stage: None)
    assert outcome.model == "qwen3:8b"
    assert measurement(spec, outcome, {}, "").model == "qwen3:8b"


def test_a_server_s_first_token_counts_whatever_its_engine():
    """llama-server counts as llama-bench does not: its output is one token more than the steps after the first."""
    runs = (Run(0.1, 0.7),)
    outcome = Outcome("llama.cpp", runs, 1, 8, 7)
    assert measurement(Spec("server", "m", server_url="http://x"), outcome, {}, "").output_tokens == 8
    assert measurement(Spec("llama.cpp", "m"), outcome, {}, "").output_tokens == 7


@pytest.mark.parametrize("url", ["ftp://x", "http://", "file:///etc/passwd"])
def test_bad_address_is_a_usage_error(url: str):
    """Only http and https with a host are addresses."""
    with pytest.raises(UsageError, match="no address"):
        Server(url)


@pytest.mark.parametrize("behaviour", ["comments", "empty", "drip"])
def test_a_server_without_tokens_is_left(behaviour: str, monkeypatch: pytest.MonkeyPatch):
    """Comments, empty events and single bytes keep a connection alive, not a benchmark."""
    monkeypatch.setattr(sse, "IDLE_TIMEOUT_S", 0.3)
    with fake_server(behaviour) as server, pytest.raises(BenchmarkFailed, match="no token came for"):
        run(Spec("server", "m", server_url=server.url, output_tokens=8), lambda _stage: None)


@pytest.mark.parametrize("behaviour", ["flood", "line"])
def test_a_server_s_bytes_are_bounded(behaviour: str):
    """A stream far longer than its tokens, or a line without end, is one clear error and no full memory."""
    with fake_server(behaviour) as server, pytest.raises(BenchmarkFailed, match="far more than the tokens"):
        run(Spec("server", "m", server_url=server.url, output_tokens=8), lambda _stage: None)
