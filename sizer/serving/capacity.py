"""The most users that a machine serves within limits, by simulation: a search over loads and ways to share devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, exp

from sizer.errors import DoesNotFit, SizerError, UsageError
from sizer.frozen import dataclass
from sizer.serving.cache import cache_tokens
from sizer.serving.corrections import REQUEST, REQUEST_S, Corrections, load_groups
from sizer.serving.deployment import Deployment
from sizer.serving.load import MOST_USERS, Load
from sizer.serving.records import Limits, ServedRow
from sizer.serving.rounds import rounds_of
from sizer.serving.simulate import MOST_REQUESTS, Simulation
from sizer.serving.simulated import Percentiles, Simulated, percentiles
from sizer.serving.steps import StepLaw, step_law
from sizer.serving.told import as_told, heard
from sizer.speed.law import constants
from sizer.speed.limits import fastest_decode
from sizer.units import significant

LEAST_REQUESTS, FEWEST_REQUESTS = 300, 8
"""Requests that a load is simulated with where time allows (a 90th percentile needs some hundreds), and the fewest
that answer at all."""
OPEN_LOOP_TURNS = 4
"""How many times over an open load's requests in the system are simulated, so that a queue that grows shows."""
MOST_EVENTS = 150_000
"""Steps' worth of requests in one simulation, each counted with the chunks of its prompt: some seconds of work."""
FULL_SHARE = 0.9
"""Of the arrivals, what a server must answer in the time they come in to be called stable."""
SEARCH_UP_TO_USERS = 16384
"""More users are told as this many. The rows of an answer are the rungs below the most, and the next two above."""
LADDER = tuple(2**power for power in range(SEARCH_UP_TO_USERS.bit_length()))
"""The rungs."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica ready to be loaded; `spreads` are its held-out spreads of both times, as logarithms."""

    served: Deployment
    law: StepLaw
    cache: float | None
    request_s: float
    spreads: tuple[tuple[float, float], tuple[float, float]]


def replica(served: Deployment, load: Load, known: Corrections) -> Replica:
    """The replica of a deployment. Raises DoesNotFit where weights or one request have no room."""
    names = load_groups(served.case, served.layout)
    law = _law(served, load, known, names)
    cache = cache_tokens(served.memory, served.layout, load)
    longest = load.whole_tokens * (1 + load.spread)
    if cache is not None and cache < longest:
        device, count = served.case.device.name, served.layout.devices
        raise DoesNotFit(
            f"{served.case.architecture.model_id} at {served.case.stored.precision} leaves {cache:,.0f} tokens of "
            f"cache on {count} x {device}; one request needs {longest:,.0f}.",
            "Take more devices, a smaller precision, or a shorter --prompt.",
        )
    request_s = REQUEST_S * known.own(REQUEST, names)
    return Replica(served, law, cache, request_s, (known.spread("ttft", names), known.spread("tpot", names)))


def _law(served: Deployment, load: Load, known: Corrections, names: Mapping[str, str]) -> StepLaw:
    """The times of steps: by points under load where they are known, else those of an estimate."""
    said = heard(served.layout, known, names)
    law = step_law(served.case, served.layout, constants(), said, names, served.rules.products)
    told = as_told(law, served, load, known, names)
    return told if served.drafts is None else replace(told, rounds=rounds_of(served.case, served.drafts))


def simulated(one: Replica, load: Load, seed: int = 0) -> Simulated:
    """A replica under a load: as many requests as show its steady state, within bounded work."""
    load = load.read(prefixes=one.served.rules.prefixes)
    users = load.users or OPEN_LOOP_TURNS * _in_system(one, load)
    chunks = 2 + load.new_prompt_tokens / one.served.rules.step_tokens
    affordable = int(MOST_EVENTS / chunks)
    if affordable < max(FEWEST_REQUESTS, load.users or 1):
        raise UsageError(
            f"{load.users or 1:,} users with prompts of {load.prompt_tokens:,} tokens are too much to simulate.",
            "Ask for fewer users, or a shorter --prompt.",
        )
    requests = min(MOST_REQUESTS, affordable, int(max(LEAST_REQUESTS, 4 * users)))
    requests = max(requests, min(load.users or 1, MOST_REQUESTS))
    return Simulation(
        one.law, one.served.rules, load, one.cache, requests=requests, request_s=one.request_s, seed=seed
    ).run()


def _in_system(one: Replica, load: Load) -> float:
    """About how many requests an open load keeps in the system: its rate times a latency at that many (Little)."""
    rate, count = load.rate_per_s or 0.0, 1.0
    for _ in range(6):
        token_s = one.law.token_s(min(count, one.served.rules.max_sequences), load.mean_depth)
        count = min(MOST_REQUESTS, max(1.0, rate * load.output_tokens * token_s))
    return count


def steady(values: Sequence[float], load: Load) -> Sequence[float]:
    """The values of requests between the start, when all users arrive together, and the end, when none follow."""
    edge = min(load.users or len(values) // 4, len(values) // 3)
    return values[edge : len(values) - edge] or values


def requests_rate(result: Simulated, load: Load) -> float:
    """Requests a second that one replica answers: of users who ask again at once, their number over their mean latency.

    (Little's law; counting ends within a window would see the waves in which users who start together stay for long.)
    """
    if load.users is None:
        return result.steady_requests_per_s
    latencies = steady(result.latency_s, load)
    return load.users / (sum(latencies) / len(latencies))


@dataclass(frozen=True, slots=True)
class Seen:
    """A load that was simulated, and which limits it breaks."""

    load: Load
    result: Simulated
    ttft: Percentiles
    tpot: Percentiles
    fails: tuple[str, ...]


def look(one: Replica, load: Load, limits: Limits) -> Seen:
    """Simulate a load and hold it to the limits. Without limits, waiting for cache or a place is one."""
    result = simulated(one, load)
    ttft, tpot = (percentiles(steady(times, load) or (0.0,)) for times in (result.ttft_s, result.tpot_s))
    fails = []
    if limits.ttft_s is not None and getattr(ttft, limits.percentile) > limits.ttft_s:
        fails.append("ttft")
    if limits.tpot_s is not None and getattr(tpot, limits.percentile) > limits.tpot_s:
        fails.append("tpot")
    crowded = bool(result.blocked_by_cache or result.blocked_by_sequences)
    if load.rate_per_s is not None and result.steady_requests_per_s < FULL_SHARE * load.rate_per_s:
        fails.append("rate")
    elif limits.ttft_s is None and crowded:
        fails.append("cache" if result.blocked_by_cache else "sequences")
    return Seen(load, result, ttft, tpot, tuple(fails))


def most_users(one: Replica, load: Load, limits: Limits) -> tuple[int, str]:
    """The most users of one replica within the limits, and which limit the next ones break."""
    failed: dict[int, tuple[str, ...]] = {}

    def meets(users: int) -> bool:
        failed[users] = look(one, replace(load, users=users, rate_per_s=None), limits).fails
        return not failed[users]

    low, high, most = 0, 1, _search_up_to(one, load)
    while high <= most and meets(high):
        low, high = high, high * 2
    if high > most:
        return low, "none"
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low, _binding(one, replace(load, users=high, rate_per_s=None), failed[high])


def _search_up_to(one: Replica, load: Load) -> int:
    """Users beyond which no search goes: twice the engine's places, and what can be simulated."""
    chunks = 2 + load.new_prompt_tokens / one.served.rules.step_tokens
    return int(min(2 * one.served.rules.max_sequences, MOST_EVENTS / chunks, SEARCH_UP_TO_USERS))


def _binding(one: Replica, load: Load, fails: Sequence[str]) -> str:
    """What the load that no longer meets the limits is short of: cache where requests wait for it, else the limit."""
    if fails and fails[0] == "ttft":
        result = simulated(one, load)
        if result.blocked_by_cache > len(result.ttft_s) // 10:
            return "cache"
        if result.blocked_by_sequences > len(result.ttft_s) // 10:
            return "sequences"
    return fails[0] if fails else "none"


def most_rate(one: Replica, load: Load, limits: Limits, about: float) -> float:
    """The highest rate of requests of one replica within the limits, to three percent; `about` is a first guess."""

    def meets(rate: float) -> bool:
        return not look(one, replace(load, users=None, rate_per_s=rate), limits).fails

    low, high = 0.0, max(about, 1e-4)
    for _ in range(24):
        if not meets(high):
            break
        low, high = high, high * 1.5
    if not low:
        for _ in range(24):
            if meets(high):
                low, high = high, high * 1.5
                break
            high /= 1.5
    while low and high / low > 1.03:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to use a machine, with the most users it serves within the limits and what the next ones break.

    `requests_per_s` is the most that may arrive, None where no rate was asked for.
    """

    replica: Replica
    replicas: int
    users: int
    binding: str
    requests_per_s: float | None = None


def served_row(choice: Choice, seen: Seen, machines: int, usd_per_hour: float | None) -> ServedRow:
    """A simulated load as a row: all replicas together, with intervals and costs; a machine costs `usd_per_hour`."""
    result, load, one, together = seen.result, seen.load, choice.replica, choice.replicas * machines
    (low_ttft, high_ttft), (low_tpot, high_tpot) = one.spreads
    requests_per_s = requests_rate(result, load) * together
    rate = requests_per_s * result.output_tokens / result.finished
    per_hour = None if usd_per_hour is None else usd_per_hour * machines
    each = None if per_hour is None or not rate else per_hour * 1e6 / (rate * 3600)
    prompts = result.prompt_tokens / max(1, result.output_tokens)
    return ServedRow(
        users=(load.users or max(1, round(result.mean_running))) * together,
        replicas=choice.replicas,
        ttft_s=seen.ttft,
        tpot_s=seen.tpot,
        low_ttft_s=seen.ttft.p50 * exp(low_ttft),
        high_ttft_s=seen.ttft.p50 * exp(high_ttft),
        low_tpot_s=min(seen.tpot.p50, max(seen.tpot.p50 * exp(low_tpot), _fastest_s(one))),
        high_tpot_s=seen.tpot.p50 * exp(high_tpot),
        throughput_tokens_per_s=rate,
        requests_per_s=requests_per_s,
        kv_used_fraction=result.kv_used_fraction,
        usd_per_hour=per_hour,
        usd_per_million_tokens=each,
        meets=not seen.fails,
        usd_per_million_input_tokens=None if each is None else each * result.prompt_share / prompts,
        usd_per_million_output_tokens=None if each is None else each * (1 - result.prompt_share),
        machines=machines,
        preemptions=result.preemptions,
        waiting_fraction=max(0.0, 1 - result.mean_decoding / result.mean_running) if result.mean_running else 0.0,
        fails=seen.fails,
        bound=bound_of(one, result, load),
    )


def _fastest_s(one: Replica) -> float:
    """The least time for a token: one pass over the weights, which yields all that was drafted at the best."""
    most = 1 + one.law.rounds.drafts if one.law.rounds else 1
    return 1 / fastest_decode(one.served.case) / most


def bound_of(one: Replica, result: Simulated, load: Load) -> str:
    """What takes most of a step at this load: bandwidth, compute, link or overhead; prompts where they take half."""
    if result.prompt_share > 0.5:
        return one.law.bound(0.0, load.mean_depth, min(load.new_prompt_tokens, one.served.rules.step_tokens))
    return one.law.bound(max(1.0, result.mean_decoding), load.mean_depth, 0.0)


def choose(
    candidates: Sequence[tuple[Deployment, int]],
    load: Load,
    limits: Limits,
    known: Corrections,
    *,
    by_rate: bool = False,
) -> tuple[Choice, list[str]]:
    """The way that serves the most users, or `by_rate` the most arriving requests; the first of equals, and why others
    cannot.

    Raises DoesNotFit where none holds the model.
    """
    best: Choice | None = None
    reasons: list[str] = []
    error: SizerError | None = None
    for served, replicas in candidates:
        try:
            one = replica(served, load, known)
        except DoesNotFit as refusal:
            error = refusal
            reasons.append(f"{served.layout.words}: does not fit.")
            continue
        users, binding = most_users(one, load, limits)
        rate = replicas * most_rate(one, load, limits, _first_rate(one, load, limits, users)) if by_rate else None
        found = Choice(one, replicas, users * replicas, binding, rate)
        told = f"{found.users:,} users" if rate is None else f"{significant(rate)} requests a second"
        reasons.append(f"{replicas} x {served.layout.words}: {told}.")
        if best is None or _serves(found) > _serves(best):
            best = found
    if best is None:
        raise error or DoesNotFit("nothing fits.", "Take more devices.")
    return best, reasons


def _serves(choice: Choice) -> float:
    return choice.users if choice.requests_per_s is None else choice.requests_per_s


def _first_rate(one: Replica, load: Load, limits: Limits, users: int) -> float:
    """Requests a second that a replica answers with its most users: where the search for a rate begins."""
    several = replace(load, users=max(1, users))
    # Arrivals by chance leave less room than users who wait for their answer.
    return 0.7 * requests_rate(look(one, several, limits).result, several)


def ladder(choice: Choice, asked: int | None) -> list[int]:
    """The users a replica that a table shows: doubling up to past the most within limits, that one, and those asked."""
    most = max(1, choice.users // choice.replicas)
    shown = [users for users in LADDER if users < most] + [most]
    shown += [users for users in LADDER if users > most][:2]
    if asked is not None:
        shown.append(min(MOST_USERS, ceil(asked / choice.replicas)))
    return sorted(set(shown))
