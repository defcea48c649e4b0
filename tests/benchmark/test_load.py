"""A load test against servers whose times are known."""

from __future__ import annotations

import json

import pytest
from benchserver import fake_server
from clirun import Run

from sizer.benchmark.load import Limits, Seen, summarize
from sizer.benchmark.server_backend import Reply
from sizer.errors import BenchmarkFailed
from sizer.serving.simulated import percentiles


def _reply(asked_s: float, ttft_s: float, gap_s: float, tokens: int = 5) -> Reply:
    first = asked_s + ttft_s
    return Reply(asked_s, tuple(first + index * gap_s for index in range(tokens)), 100, tokens)


def test_percentiles_are_exact_on_known_steps():
    """Of first tokens after 1 to 101 s, the percentiles are the 51st, 91st and 100th; by hand for few."""
    seen = Seen([_reply(0, wait, 0.5) for wait in range(1, 102)])
    load = summarize(101, 0.0, 1000.0, seen, Limits(), 0)
    assert (load.ttft_s.p50, load.ttft_s.p90, load.ttft_s.p99) == (51, 91, 100)
    assert (load.tpot_s.p50, load.inter_token_s.p99, load.latency_s.p50) == (0.5, 0.5, 53)
    assert percentiles([4, 1]).p50 == 2.5
    assert percentiles([7]).p99 == 7


def test_rates_count_what_came_within_the_time():
    """An answer that ends after the time is timed, but only its tokens within the time count for the throughput."""
    seen = Seen([_reply(0, 1, 1), _reply(5, 3, 1)])  # the second: tokens at 8, 9, 10, 11, 12
    load = summarize(1, 0.0, 10.0, seen, Limits(), 0)
    assert (load.requests, load.requests_per_s, load.throughput_tokens_per_s) == (2, 0.1, 0.8)


def test_goodput_counts_requests_that_hold_both_limits():
    """One is late with its first token, one slow with the others, one good."""
    seen = Seen([_reply(0, 1, 0.1), _reply(0, 3, 0.1), _reply(0, 1, 0.9)])
    load = summarize(3, 0.0, 10.0, seen, Limits(2.0, 0.5), 0)
    assert (load.goodput_requests_per_s, load.good_fraction) == (0.1, pytest.approx(1 / 3))
    assert summarize(3, 0.0, 10.0, seen, Limits(), 0).goodput_requests_per_s is None


def test_no_answer_is_a_failure():
    """Nothing is told of nothing."""
    with pytest.raises(BenchmarkFailed):
        summarize(3, 0.0, 10.0, Seen(), Limits(), 0)


def test_known_steps_are_measured_under_users(run: Run):
    """With a server of known first and further steps, four users see those times, and as many answers as they allow."""
    with fake_server() as server:
        server.first_s, server.gap_s = 0.1, 0.03
        done = run("bench", "--server", server.url, "--users", "1,4", "--duration", "1.2s", "--output", "6",
                   "--prompt", "20", "--ttft", "50ms", "--json")  # fmt: skip
    assert done.code == 0, done.err
    one, four = json.loads(done.out)["serving"]
    assert (one["users"], four["users"]) == (1, 4)
    for load in (one, four):
        assert load["ttft_s"]["p50"] >= 0.1
        assert load["tpot_s"]["p50"] == pytest.approx(0.03, rel=0.5)
        assert load["requests_per_s"] <= load["users"] / 0.25
        assert load["good_fraction"] == 0  # no first token comes in 50 ms
    assert four["requests"] > 2 * one["requests"]


@pytest.mark.parametrize("behaviour", ["vanish", "flood", "line"])
def test_hostile_servers_end(run: Run, behaviour: str):
    """A server that breaks off or floods ends the test with one line and exit 5."""
    with fake_server(behaviour) as server:
        done = run("bench", "--server", server.url, "--users", "2", "--duration", "1s", "--output", "6")
    assert (done.code, done.out, len(done.err.strip().splitlines())) == (5, "", 1)


def test_users_need_a_server(run: Run):
    """--users without --server is refused."""
    assert run("bench", "--users", "2").code == 2
    assert run("bench", "--users", "0,2").code == 2
