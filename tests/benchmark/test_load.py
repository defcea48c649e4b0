"""A load test against servers whose times are known."""

from __future__ import annotations

import csv
import json
import math
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benchserver import fake_server
from clirun import Run

from sizer.benchmark.load import drive
from sizer.benchmark.load.asked import LoadAsked
from sizer.benchmark.load.beside import deployed, predicted
from sizer.benchmark.load.figures import Seen, judge_load, summarize
from sizer.benchmark.load.requests import Lengths, Request, drawn, read_requests
from sizer.benchmark.run_warnings import Warn
from sizer.benchmark.save import FLAGS
from sizer.benchmark.server_backend import Reply
from sizer.benchmark.sse import ServerGone
from sizer.calibrate.load_validation import predict_points
from sizer.engine.asked import engine_asked
from sizer.engine.commands import read_command
from sizer.engine.flag_text import flags_text
from sizer.errors import BenchmarkFailed, InvalidInputFile, UsageError
from sizer.serving.load import Load
from sizer.serving.records import Limits
from sizer.serving.simulated import percentiles


def _reply(asked_s: float, ttft_s: float, gap_s: float, tokens: int = 5) -> Reply:
    first = asked_s + ttft_s
    return Reply(asked_s, tuple(first + index * gap_s for index in range(tokens)), 100, tokens)


def _users(count: int) -> Load:
    return Load(100, 5, users=count)


def _after(monkeypatch: pytest.MonkeyPatch, requests: int) -> None:
    """Let the time of each load be over after so many requests, however fast this machine is."""

    class Counted(drive._Turns):
        """Turns that are handed out by number, not by the clock."""

        def next(self) -> tuple[int, Request] | None:
            """The next request, none after so many."""
            with self.lock:
                self.end_s = math.inf if self.number < requests else -math.inf
            return super().next()

    monkeypatch.setattr(drive, "_Turns", Counted)


def test_percentiles_are_exact_on_known_steps():
    """Of first tokens after 1 to 101 s, the percentiles are the 51st, 91st and 100th; by hand for few."""
    seen = Seen([_reply(0, wait, 0.5) for wait in range(1, 102)])
    load = summarize(_users(101), 0.0, 1000.0, seen, Limits())
    assert (load.ttft_s.p50, load.ttft_s.p90, load.ttft_s.p99) == (51, 91, 100)
    assert (load.tpot_s.p50, load.inter_token_s.p99, load.latency_s.p50) == (0.5, 0.5, 53)
    assert percentiles([4, 1]).p50 == 2.5
    assert percentiles([7]).p99 == 7


def test_rates_count_what_came_within_the_time():
    """An answer that ends after the time is timed, but only its tokens within the time count for the throughput."""
    seen = Seen([_reply(0, 1, 1), _reply(5, 3, 1)])  # the second: tokens at 8, 9, 10, 11, 12
    load = summarize(_users(1), 0.0, 10.0, seen, Limits())
    assert (load.requests, load.requests_per_s, load.throughput_tokens_per_s) == (2, 0.1, 0.8)


def test_goodput_counts_requests_that_hold_both_limits():
    """One is late with its first token, one slow with the others, one good."""
    seen = Seen([_reply(0, 1, 0.1), _reply(0, 3, 0.1), _reply(0, 1, 0.9)])
    load = summarize(_users(3), 0.0, 10.0, seen, Limits(2.0, 0.5))
    assert (load.goodput_requests_per_s, load.good_fraction) == (0.1, pytest.approx(1 / 3))
    assert summarize(_users(3), 0.0, 10.0, seen, Limits()).goodput_requests_per_s is None


def test_no_answer_is_a_failure():
    """Nothing is told of nothing."""
    with pytest.raises(BenchmarkFailed):
        summarize(_users(3), 0.0, 10.0, Seen(), Limits())


def test_known_steps_are_measured_under_users(run: Run):
    """With a server of known first and further steps, users see no less than those times and no more answers than they
    allow; one user has one answer at a time."""
    with fake_server() as server:
        server.first_s, server.gap_s = 0.1, 0.03
        done = run("bench", "--server", server.url, "--users", "1,4", "--duration", "1.2s", "--output", "6",
                   "--prompt", "20", "--ttft", "50ms", "--json")  # fmt: skip
    assert done.code == 0, done.err
    one, four = json.loads(done.out)["serving"]
    assert (one["users"], four["users"]) == (1, 4)
    for load in (one, four):
        assert load["ttft_s"]["p50"] >= 0.1
        assert load["latency_s"]["p50"] >= 0.1 + 5 * 0.03
        assert load["requests_per_s"] <= load["users"] / 0.25
        assert load["good_fraction"] == 0  # no first token comes in 50 ms
    assert one["mean_in_flight"] <= 1.01


def test_users_ask_at_the_same_time(run: Run, monkeypatch: pytest.MonkeyPatch):
    """Four users have four questions with the server at once: it answers none before it has them all."""
    _after(monkeypatch, 4)
    with fake_server() as server:
        server.together = 4
        done = run("bench", "--server", server.url, "--users", "4", "--duration", "1s", "--output", "4", "--json")
    assert done.code == 0, done.err
    (load,) = json.loads(done.out)["serving"]
    assert (load["requests"], load["failed"]) == (4, 0)


@pytest.mark.parametrize("behaviour", ["vanish", "flood", "line", "redirect"])
def test_hostile_servers_end(run: Run, behaviour: str):
    """A server that breaks off or floods ends the test with one line and exit 5."""
    with fake_server(behaviour) as server:
        done = run("bench", "--server", server.url, "--users", "2", "--duration", "1s", "--output", "6")
    assert (done.code, done.out, len(done.err.strip().splitlines())) == (5, "", 1)


def test_users_need_a_server(run: Run):
    """--users without --server is refused."""
    assert run("bench", "--users", "2").code == 2
    assert run("bench", "--users", "0,2").code == 2


COMMAND = "llama-server -hf unsloth/Qwen3-0.6B-GGUF:Q8_0 -np 4 -c 8192 -fa off"


class Clock:
    """A clock that only sleepers advance."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        """The time."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now_s += seconds


def test_arrivals_come_at_their_rate_whatever_the_server_does(monkeypatch: pytest.MonkeyPatch):
    """Open arrivals do not wait for answers: of a server that answers none, all that are due in the time are asked."""
    monkeypatch.setattr(drive, "time", Clock())
    answered, asked = threading.Event(), []

    def send(_turn: tuple[int, Request], asked_s: float) -> None:
        asked.append(asked_s)
        answered.wait(300)

    random, due, at_s = Random(0), [], 0.0
    while (at_s := at_s + random.expovariate(12)) < 1.5:
        due.append(at_s)
    threads = drive._arrivals(drive._Turns(drawn(Lengths.parse("9"), Lengths.parse("4")), 1.5, Seen()), send, 12)
    answered.set()
    for thread in threads:
        thread.join(300)
    assert len(threads) == len(due) > 10
    assert sorted(asked) == pytest.approx(due)


def test_a_rate_is_measured(run: Run):
    """Answers to arrivals are told beside the rate that was asked for, none of them faster than the server."""
    with fake_server() as server:
        server.first_s, server.gap_s = 0.4, 0.01
        done = run("bench", "--server", server.url, "--rate", "12", "--duration", "1.5s", "--output", "4",
                   "--prompt", "9", "--json")  # fmt: skip
    assert done.code == 0, done.err
    (load,) = json.loads(done.out)["serving"]
    assert load["requests"] == len(server.bodies) - 1 > 0
    assert (load["users"], load["rate_per_s"], load["failed"], load["unfinished"]) == (None, 12, 0, 0)
    assert load["ttft_s"]["p50"] >= 0.4


def test_lengths_are_fixed_uniform_or_normal():
    """Draws lie within the range and have its mean; what is no length is refused."""
    random = Random(1)
    for text, mean, low, high in (("512", 512, 512, 512), ("100-300", 200, 100, 300), ("200~20", 200, 120, 280)):
        lengths = Lengths.parse(text)
        draws = [lengths.draw(random) for _ in range(4000)]
        assert low <= min(draws) <= max(draws) <= high
        assert sum(draws) / len(draws) == pytest.approx(mean, rel=0.02)
        assert lengths.words == text
    assert len({Lengths.parse("100-300").draw(random) for _ in range(100)}) > 50
    for bad in ("", "0", "300-100", "5-", "-5", "1~2~3", "a~b", "1e99"):
        with pytest.raises(UsageError):
            Lengths.parse(bad)


def _max_tokens(body: dict[str, Any]) -> int:
    return int(body["max_tokens"])


def _prompt_words(body: dict[str, Any]) -> int:
    return len(body["prompt"].split())


def test_drawn_lengths_are_what_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch):
    """The outputs that the server is asked for lie in the range and are not one length, as the prompts."""
    _after(monkeypatch, 12)
    with fake_server() as server:
        server.first_s = server.gap_s = 0.0
        done = run("bench", "--server", server.url, "--users", "3", "--duration", "0.6s", "--output", "2-9", "--prompt",
                   "10-40", "--json")  # fmt: skip
    assert done.code == 0, done.err
    bodies = server.bodies[1:]
    assert len(bodies) == 12
    outputs, prompts = ({told(body) for body in bodies} for told in (_max_tokens, _prompt_words))
    assert len(outputs) > 1
    assert outputs <= set(range(2, 10))
    assert len(prompts) > 1


def test_requests_of_a_file_are_sent_as_they_are(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Texts and chats go out word for word, made-up prompts at their length, in the file's order, over and over."""
    _after(monkeypatch, 4)
    path = tmp_path / "requests.jsonl"
    chat = [{"role": "user", "content": "Why?"}]
    lines = [{"prompt": "Once upon", "max_tokens": 3}, {"messages": chat}, {"prompt_tokens": 30, "output_tokens": 5}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    with fake_server() as server:
        server.first_s = server.gap_s = 0.0
        done = run(
            "bench", "--server", server.url, "--users", "1", "--duration", "2s", "--output", "4", "--requests", path
        )
    assert done.code == 0, done.err
    first, second, third, again = server.bodies[1:]
    assert (first["prompt"], first["max_tokens"]) == ("Once upon", 3)
    assert (second["messages"], second["max_tokens"]) == (chat, 4)
    assert (len(third["prompt"].split()), third["max_tokens"]) == (pytest.approx(30, abs=4), 5)
    assert again["prompt"] == "Once upon"


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", '{"prompt_tokens": -3}', '{"messages": [1]}', '{"prompt": "a", "max_tokens": true}', "\xff"],
)
def test_files_that_hold_no_requests_are_refused(tmp_path: Path, line: str):
    """Each with one line that names the file."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(line.encode("latin-1"))
    with pytest.raises(InvalidInputFile, match=r"bad\.jsonl"):
        read_requests(path, Lengths.parse("8"))


def test_the_time_limit_bounds_a_server_that_says_nothing(run: Run):
    """A request that is never answered ends with --timeout, not after five minutes."""
    started = time.monotonic()
    with fake_server("hang") as server:
        done = run("bench", "--server", server.url, "--users", "2", "--timeout", "1.5")
        took_s = time.monotonic() - started
    assert (done.code, done.out) == (5, "")
    assert "--timeout" in done.err
    assert took_s < 240  # five minutes without the limit


def test_loads_that_have_no_time_left_are_named(run: Run):
    """The time limit ends the loads in the middle: what was measured is told, and what was not."""
    for seconds in (3, 30):  # a busy machine may take the first for the start alone
        with fake_server() as server:
            done = run("bench", "--server", server.url, "--users", "1,2,3", "--duration", f"{seconds}s",
                       "--timeout", f"{1.6 * seconds}", "--output", "4", "--json")  # fmt: skip
        if done.code == 0:
            break
    assert done.code == 0, done.err
    told = json.loads(done.out)
    measured = len(told["serving"])
    assert 1 <= measured < 3
    assert told["left_out"] == [f"{users} user{'s' * (users > 1)}" for users in (1, 2, 3)][measured:]


def test_a_refused_request_does_not_end_the_load(run: Run, monkeypatch: pytest.MonkeyPatch):
    """A server without a free slot refuses a third of the requests: they are counted, and the others measured."""
    _after(monkeypatch, 8)
    with fake_server("busy") as server:
        done = run("bench", "--server", server.url, "--users", "2", "--duration", "1.5s", "--output", "4", "--json")
    assert done.code == 0, done.err
    (load,) = json.loads(done.out)["serving"]
    assert (load["failed"], load["requests"]) == (3, 5)


def test_a_wrong_count_of_the_server_is_not_believed(run: Run):
    """A usage report of words and of more tokens than there are is passed over: events are counted."""
    with fake_server("wrong-usage") as server:
        done = run("bench", "--server", server.url, "--users", "2", "--duration", "0.4s", "--output", "4", "--json")
    assert done.code == 0, done.err
    (load,) = json.loads(done.out)["serving"]
    assert (load["prompt_tokens"], load["output_tokens"]) == (None, 4)


def test_the_server_s_command_gives_a_prediction_and_rows_that_validate_scores(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Measured beside predicted in the output; the saved rows are scored by `validate` and read by `calibrate`."""
    monkeypatch.setattr(drive.MachineWatch, "cautions", lambda _watch: [])  # what this machine does now spoils no row
    saved = tmp_path / "loads.csv"
    with fake_server(owner="llamacpp") as server:
        done = run("bench", "--server", server.url, "--users", "1,2", "--duration", "0.5s", "--output", "4",
                   "--prompt", "30", "--command", COMMAND, "--device", "ryzen-9-7950x", "--save", saved, "--offline",
                   "--json")  # fmt: skip
    assert done.code == 0, done.err
    for load in json.loads(done.out)["serving"]:
        told, off = load["predicted"], load["residual"]
        assert 0 < told["low_ttft_s"] < told["ttft_s"]["p50"] < told["high_ttft_s"]
        assert off["tpot"] == pytest.approx(load["tpot_s"]["p50"] / told["tpot_s"]["p50"] - 1)
    validated = run("validate", str(saved), "--json")
    assert validated.code == 0, validated.err
    scored = json.loads(validated.out)
    assert (scored["rows"], scored["scored"], scored["ttft"]["n"], scored["tpot"]["n"]) == (2, 2, 2, 2)
    with saved.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    told = [load["warnings"] for load in json.loads(done.out)["serving"]]
    assert [set(row["flags"].split("|")) for row in rows] == [
        {FLAGS.get(one["code"], one["code"]) for one in load} or {""} for load in told
    ]
    taught = run("calibrate", str(saved))
    assert taught.code == 2
    assert "2 points" in taught.err


def test_rows_of_an_unnamed_server_are_not_saved(run: Run, tmp_path: Path):
    """A row that cannot say what served teaches nothing: refused before anything is measured."""
    with fake_server() as server:
        done = run("bench", "--server", server.url, "--users", "1", "--save", tmp_path / "loads.csv")
        asked = len(server.bodies)
    assert (done.code, asked) == (2, 0)
    assert "--command" in done.err


def test_saved_flags_are_read_back():
    """The flags of a saved row mean what the command said, the model's name left out."""
    options = read_command(COMMAND.split())
    text = flags_text(options)
    again = engine_asked(f"llama.cpp {text}")
    assert "Qwen" not in text
    for name in ("max_sequences", "context_tokens", "flash_attention"):
        assert getattr(again, name) == getattr(options, name)


def test_a_prediction_plays_the_requests_that_were_sent():
    """More slots than users: nobody waits, so that the time per token grows with users and the rate with it."""
    asked = LoadAsked("http://x", users=(1, 4), command=COMMAND, device="ryzen-9-7950x", offline=True)
    one = deployed(asked, "")
    assert one is not None
    seen = Seen([_reply(0, 1, 0.1) for _ in range(12)])
    told = []
    for load in asked.stages():
        measured = summarize(load, 0.0, 10.0, seen, Limits())
        told.append(predicted(one, load, measured, [(512, 20)] * 12))
    alone, four = told
    assert alone.tpot_s.p50 < four.tpot_s.p50 < 4 * alone.tpot_s.p50
    assert alone.requests_per_s < four.requests_per_s
    assert alone.requests_per_s == pytest.approx(1 / (alone.ttft_s.p50 + 19 * alone.tpot_s.p50), rel=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rate", "1"), ("--users", "1", "--rate", "1", "--server", "http://127.0.0.1:9"),
        ("--rate", "0", "--server", "http://127.0.0.1:9"), ("--rate", "nan", "--server", "http://127.0.0.1:9"),
        ("--users", "1", "--prompt", "1,2", "--server", "http://127.0.0.1:9"), ("--prompt", "8-9"),
        ("--command", "llama-server -m x.gguf"), ("--users", "1", "--output", "1", "--server", "http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_loads_that_contradict_themselves_are_refused(run: Run, wrong: tuple[str, ...]):
    """One line, exit 2, and nothing is asked of anyone."""
    done = run("bench", *wrong)
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)


def test_warnings_of_a_load_are_of_the_closed_list():
    """Few, failed, short and merged answers are told; a load with none of them is told nothing."""
    reply = Reply(0.0, (0.1, 0.2), 8, 4)
    load = Load(8, 8, users=1, spread=0.0)
    seen = Seen([reply] * 3, [ServerGone("gone")], unfinished=1)
    told = judge_load(summarize(load, 0.0, 1.0, seen, Limits()), 8)
    assert [one.code for one in told] == ["few-answers", "failed-requests", "early-stop", "merged-tokens"]
    assert all(one.code in {warn.code for warn in Warn} and one.remedy for one in told)
    whole = Reply(0.0, (0.1, 0.2, 0.3, 0.4), 8, 4)
    assert judge_load(summarize(load, 0.0, 1.0, Seen([whole] * 10), Limits()), 4) == []
    assert judge_load(summarize(load, 0.0, 1.0, Seen([whole] * 10), Limits()), None) == []


def test_a_flagged_load_teaches_and_scores_nothing():
    """A row whose machine swapped is skipped with its flag as the reason; one of few answers is not."""
    cells = {
        "id": "x", "backend": "vllm", "backend_version": "0.8", "model_path": "Qwen/Qwen3-8B", "system": "h100",
        "precision": "bf16", "isl": "512", "osl": "128", "batch_size": "4", "requests": "40",
        "silicon_ttft_ms": "50", "silicon_tpot_ms": "10",
    }  # fmt: skip
    flagged, fine = predict_points([{**cells, "flags": "suspect"}, {**cells, "flags": "few-answers"}])
    assert flagged.reason == "flagged suspect"
    assert fine.predictions
