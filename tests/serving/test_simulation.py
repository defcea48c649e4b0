"""The simulation of many users against what queueing theory and hand computation tell."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from effort import calls_of

from sizer.errors import UsageError
from sizer.serving.curves import BATCHES, DEPTHS, PROMPTS, Curve
from sizer.serving.load import Load
from sizer.serving.rounds import Rounds
from sizer.serving.rules import Scheduler
from sizer.serving.simulate import Simulation
from sizer.serving.simulate_apart import ApartSimulation, Reading
from sizer.serving.simulated import Simulated, percentile
from sizer.serving.steps import StepLaw

STEP_S, TOKEN_S = 0.010, 1e-5
"""The law of these tests: a decode step takes 10 ms whatever its batch, a prompt token 10 us more."""


def flat(xs: tuple[int, ...], seconds: float = 0.0) -> Curve:
    """A curve that is the same everywhere."""
    return Curve(xs, [seconds] * len(xs))


def law(step_s: float = STEP_S, token_s: float = TOKEN_S, per_sequence_s: float = 0.0) -> StepLaw:
    """A law of constants: the step, each prompt token, each decoding sequence."""
    return StepLaw(
        flat_memory=flat(BATCHES),
        deep_memory=flat(DEPTHS),
        experts=flat(BATCHES),
        prompt_memory=flat(PROMPTS),
        compute=flat(BATCHES),
        deep_compute=flat(DEPTHS),
        prompt_compute=flat(PROMPTS),
        attention=flat(DEPTHS),
        launch=flat(BATCHES),
        prompt_launch=flat(PROMPTS),
        overhead=Curve(BATCHES, [step_s + per_sequence_s * (count - 1) for count in BATCHES]),
        prompt_overhead=Curve(PROMPTS, [step_s + token_s * count for count in PROMPTS]),
        links=flat(BATCHES),
        prompt_links=flat(PROMPTS),
    )


BESIDE = Scheduler("test", 2048, 256, "beside", "grow")


def run(
    load: Load, rules: Scheduler = BESIDE, cache: float | None = None, requests: int = 400, **terms: float
) -> Simulated:
    """Simulate with the law of these tests."""
    return Simulation(law(**terms), rules, load, cache, requests=requests).run()


def test_one_user_is_the_unloaded_request() -> None:
    """One user's request takes one step for its prompt and one for each further token, to the digit."""
    seen = run(Load(500, 40, users=1, spread=0), requests=5)
    assert seen.ttft_s == pytest.approx([STEP_S + 500 * TOKEN_S] * 5)
    assert seen.tpot_s == pytest.approx([STEP_S] * 5)
    assert seen.latency_s == pytest.approx([STEP_S + 500 * TOKEN_S + 39 * STEP_S] * 5)


def test_long_prompt_takes_a_step_a_chunk() -> None:
    """A prompt of five budgets is read in five steps, whose tokens all cost."""
    seen = run(Load(5 * 2048, 2, users=1, spread=0), requests=1)
    assert seen.ttft_s[0] == pytest.approx(5 * STEP_S + 5 * 2048 * TOKEN_S)


def test_a_whole_prompt_waits_for_the_next_step() -> None:
    """Two prompts of 1,500 tokens go through a step of 2,048 one by one where they stay whole, else in two parts."""
    load = Load(1500, 2, users=2, spread=0)
    parted = run(load, requests=2)
    whole = run(load, replace(BESIDE, parts="longest"), requests=2)
    assert parted.ttft_s == pytest.approx([STEP_S + 2048 * TOKEN_S, 2 * STEP_S + 3000 * TOKEN_S])
    assert whole.ttft_s == pytest.approx([STEP_S + 1500 * TOKEN_S, 2 * STEP_S + 3000 * TOKEN_S])


@pytest.mark.parametrize("load", [Load(300, 60, users=24), Load(300, 60, rate_per_s=3.0), Load(3000, 9, users=7)])
@pytest.mark.parametrize("prompts", ["beside", "before"])
def test_littles_law(load: Load, prompts: str) -> None:
    """Requests in the system are their rate times their mean latency, closed or open, however prompts are read."""
    seen = run(load, Scheduler("test", 2048, 256, prompts, "grow"), requests=2000)
    expected = seen.requests_per_s * sum(seen.latency_s) / len(seen.latency_s)
    assert seen.mean_running == pytest.approx(expected, rel=0.01)


def test_infinite_budget_has_a_closed_form() -> None:
    """With prompts that cost nothing beside a step, N users each get a token a step: rate = N / (outputs x step)."""
    users, output = 32, 50
    seen = run(Load(100, output, users=users), requests=6000, token_s=0.0)
    # the prompt's step gives the first token, so a request is exactly `output` steps long
    assert seen.requests_per_s == pytest.approx(users / (output * STEP_S), rel=0.02)
    assert percentile(seen.tpot_s, 0.99) == pytest.approx(STEP_S)


def test_prompts_beside_decodes_stretch_them_by_their_share() -> None:
    """A token's mean time is a step plus what the other users' prompt tokens add while it is decoded."""
    users, prompt, output = 16, 400, 100
    seen = run(Load(prompt, output, users=users), requests=4000)
    # each user's cycle of `output` steps holds the prompts of the others once
    expected = STEP_S + (users - 1) / output * prompt * TOKEN_S
    assert sum(seen.tpot_s) / len(seen.tpot_s) == pytest.approx(expected, rel=0.03)


def test_decodes_wait_where_prompts_come_before_them() -> None:
    """An engine that reads prompts in steps of their own makes decodes wait longer than one that mixes them."""
    load = Load(400, 100, users=16)
    mixed = run(load, requests=2000)
    alone = run(load, Scheduler("test", 2048, 256, "before", "grow"), requests=2000)
    assert sum(alone.tpot_s) > sum(mixed.tpot_s)


@pytest.mark.parametrize("reserves", ["grow", "whole", "slots"])
def test_nothing_is_lost(reserves: str) -> None:
    """Every request is answered, all its tokens are generated, and the cache is never more than full."""
    load = Load(200, 100, users=40)
    rules = Scheduler("test", 512, 64, "beside", reserves)
    seen = run(load, rules, cache=3000.0, requests=500)
    assert seen.finished == 500
    assert seen.kv_peak_fraction <= 1.0
    assert seen.output_tokens == pytest.approx(500 * 100, rel=0.05)
    assert (seen.preemptions == 0) is (reserves == "whole")


def test_reserving_whole_runs_fewer_at_once() -> None:
    """An engine that reserves the longest output ahead decodes fewer sequences in the same cache."""
    load = Load(200, 400, users=40)
    grow = run(load, cache=6000.0, requests=300)
    whole = run(load, Scheduler("test", 2048, 256, "beside", "whole"), cache=6000.0, requests=300)
    assert whole.mean_decoding < grow.mean_decoding


def test_slots_bound_the_sequences() -> None:
    """With four places no more than four requests run; the rest wait for a first token."""
    seen = run(Load(100, 50, users=16), Scheduler("test", 2048, 4, "beside", "slots"), requests=400)
    assert seen.mean_decoding <= 4
    assert seen.blocked_by_sequences > 0
    few = run(Load(100, 50, users=4), Scheduler("test", 2048, 4, "beside", "slots"), requests=400)
    assert percentile(seen.ttft_s, 0.5) > 10 * percentile(few.ttft_s, 0.5)


def test_prefix_hits_shorten_the_first_token() -> None:
    """Of a prompt that the cache holds to nine tenths, a tenth is read."""
    hit = run(Load(1000, 10, users=1, spread=0, prefix_hit=0.9), requests=1)
    assert hit.ttft_s[0] == pytest.approx(STEP_S + 100 * TOKEN_S)


def test_same_seed_same_answer() -> None:
    """Two runs of one seed are equal to the last digit; another seed differs."""
    load = Load(300, 60, rate_per_s=5.0)
    first = Simulation(law(), BESIDE, load, None, requests=200, seed=1).run()
    again = Simulation(law(), BESIDE, load, None, requests=200, seed=1).run()
    other = Simulation(law(), BESIDE, load, None, requests=200, seed=2).run()
    assert first == again
    assert first.ttft_s != other.ttft_s


def test_more_users_never_wait_less() -> None:
    """Throughput rises with users, and so do both times."""
    seen = [run(Load(500, 100, users=users), requests=1500, per_sequence_s=2e-4) for users in (1, 4, 16, 64)]
    for one, more in pairwise(seen):
        assert more.throughput_tokens_per_s > one.throughput_tokens_per_s
        assert percentile(more.tpot_s, 0.5) > percentile(one.tpot_s, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"users": 0}, {"users": 1.5}, {"users": -3}, {"users": 10**9}, {"rate_per_s": 0.0}, {"rate_per_s": -1.0},
        {"rate_per_s": math.nan}, {"rate_per_s": math.inf}, {}, {"users": 1, "rate_per_s": 1.0},
        {"users": 1, "prefix_hit": 1.5}, {"users": 1, "prefix_hit": math.nan},
    ],
)  # fmt: skip
def test_loads_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    """No users, endless or negative rates, both or neither, shares beyond one: refused where they are made."""
    with pytest.raises(UsageError):
        Load(100, 10, **wrong)  # type: ignore[arg-type]


def test_a_request_that_never_fits_is_refused() -> None:
    """A request longer than the whole cache is refused, not waited for."""
    with pytest.raises(UsageError, match="does not fit into a cache"):
        run(Load(1000, 10, users=2), cache=500.0, requests=4)


def test_twice_the_requests_take_twice_the_work() -> None:
    """A thousand requests of 64 users are simulated in a few hundred calls each, as five hundred are."""
    half = calls_of(lambda: run(Load(1000, 300, users=64), requests=500))
    whole = calls_of(lambda: run(Load(1000, 300, users=64), requests=1000))
    assert whole < 600 * 1000
    assert whole < 2.5 * half


def test_rounds_yield_their_tokens_and_cost_their_drafts() -> None:
    """Three drafts a round that yield two tokens: half the rounds, each a step, its drafts and what is fixed."""
    drafting = replace(law(per_sequence_s=0.001), rounds=Rounds(3, 2.0, 0.5, 0.002))
    seen = Simulation(drafting, BESIDE, Load(500, 41, users=1, spread=0), None, requests=3).run()
    round_s = (STEP_S + 3 * 0.001) + 0.5 * STEP_S + 0.002
    assert seen.tpot_s == pytest.approx([round_s / 2] * 3)
    assert drafting.token_s(1, 500) == pytest.approx(round_s / 2)
    assert replace(drafting, rounds=None).token_s(1, 500) == pytest.approx(STEP_S)


def test_rounds_fill_the_cache_as_fast_as_tokens_do() -> None:
    """Sequences that gain several tokens a step lose none and are thrown out where the cache is full."""
    drafting = replace(law(), rounds=Rounds(3, 2.5, 0.1, 0.0))
    load = Load(200, 150, users=12, spread=0)
    seen = Simulation(drafting, BESIDE, load, 2500, requests=60).run()
    assert seen.finished == 60
    assert seen.preemptions
    assert seen.kv_peak_fraction <= 1


def test_a_shared_beginning_is_read_and_held_once() -> None:
    """Of 1,000 tokens 900 are all users' own: a hundred are read, and a cache for two whole requests holds five."""
    load = Load(1000, 10, users=5, spread=0, shared_tokens=900)
    alone = run(replace(load, users=1), requests=1)
    assert alone.ttft_s[0] == pytest.approx(STEP_S + 100 * TOKEN_S)
    seen = run(load, cache=2000, requests=5)
    assert not seen.blocked_by_cache
    assert run(replace(load, shared_tokens=0, prefix_hit=0.9), cache=2000, requests=5).blocked_by_cache


def fleet(load: Load, readers: int, requests: int, cache: float | None = None, **rules: int) -> Simulated:
    """Servers of prompts with a step's 2,048 tokens beside those of tokens, all with the law of these tests."""
    reading = Reading(readers, law(), BESIDE)
    return ApartSimulation(law(), replace(BESIDE, **rules), load, cache, reading=reading, requests=requests).run()


def test_one_user_of_a_fleet_waits_for_the_prompt_alone() -> None:
    """Its prompt, in chunks where it is long, then a step a token."""
    seen = fleet(Load(5000, 21, users=1, spread=0), readers=1, requests=3)
    assert seen.ttft_s == pytest.approx([3 * STEP_S + 5000 * TOKEN_S] * 3)
    assert seen.tpot_s == pytest.approx([STEP_S] * 3)


def test_prompts_do_not_hold_the_steps_of_a_fleet_up() -> None:
    """Tokens take their step beside however many prompts; servers of prompts share them, and wait for none of them."""
    load = Load(2000, 50, users=8, spread=0)
    together = run(load, requests=80)
    one, four = (fleet(load, readers, requests=80) for readers in (1, 4))
    assert max(one.tpot_s) < STEP_S * 1.05 < max(together.tpot_s)
    prompt_s = STEP_S + 2000 * TOKEN_S
    assert one.ttft_s[:8] == pytest.approx([prompt_s * count for count in range(1, 9)])
    assert four.ttft_s[:8] == pytest.approx([prompt_s] * 4 + [2 * prompt_s] * 4)
    assert one.finished == four.finished == 80


def test_what_a_fleet_throws_out_is_read_again_from_then_on() -> None:
    """A server of prompts that was idle till then begins with it when it is thrown out, not when it first arrived."""
    slow = Reading(24, law(step_s=10.0), BESIDE)
    load = Load(200, 150, users=12, spread=0)
    seen = ApartSimulation(law(), BESIDE, load, 2500, reading=slow, requests=12).run()
    assert seen.preemptions
    assert min(seen.latency_s) < 15
    assert max(seen.latency_s) > 20


def test_a_fleet_follows_littles_law_and_waits_for_places() -> None:
    """Those who are read wait for a place to decode in; requests in the system are their rate times their latency."""
    seen = fleet(Load(300, 60, rate_per_s=8.0), readers=2, requests=2000)
    expected = seen.requests_per_s * sum(seen.latency_s) / len(seen.latency_s)
    assert seen.mean_running == pytest.approx(expected, rel=0.03)
    crowded = fleet(Load(300, 60, users=16), readers=2, requests=160, max_sequences=4)
    assert crowded.blocked_by_sequences
    assert crowded.finished == 160
