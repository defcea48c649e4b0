"""A load test of a server: so many users, each asking again as soon as it is answered, for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, pairwise
from secrets import token_hex

from sizer.benchmark.records import Spec
from sizer.benchmark.server_backend import Reply, ask, choose_model
from sizer.benchmark.sse import Server, ServerGone
from sizer.errors import BenchmarkFailed, SizerError
from sizer.serving.simulated import Percentiles, percentiles

MOST_USERS = 1024
MOST_REQUESTS = 1_000_000
LONGEST_AFTERMATH_S = 60.0
"""How long answers that run when the time is over are waited for; later ones count as unfinished."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request must hold to be good; None asks nothing."""

    ttft_s: float | None = None
    tpot_s: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is asked."""
        return self.ttft_s is not None or self.tpot_s is not None

    def hold(self, reply: Reply) -> bool:
        """Whether a request kept them."""
        return (self.ttft_s is None or reply.run.prefill_s <= self.ttft_s) and (
            self.tpot_s is None or tpot_s(reply) <= self.tpot_s
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What `users` saw within `duration_s`.

    `ttft_s` counts from asking to the first token, `tpot_s` is a request's mean time for each token after it by the
    server's own count, `inter_token_s` the pooled gaps between events, `latency_s` the whole answer. Rates count
    what was finished, or streamed, within the time. `goodput_requests_per_s` and `good_fraction` count requests
    that held the limits, None without limits. `unfinished` were still running long after; `failed` broke off.
    """

    users: int
    duration_s: float
    requests: int
    failed: int
    unfinished: int
    prompt_tokens: int | None
    output_tokens: float
    ttft_s: Percentiles
    tpot_s: Percentiles
    inter_token_s: Percentiles
    latency_s: Percentiles
    requests_per_s: float
    throughput_tokens_per_s: float
    goodput_requests_per_s: float | None
    good_fraction: float | None
    merged_tokens: bool


def tpot_s(reply: Reply) -> float:
    """Seconds for each token after the first."""
    return reply.run.decode_s / (reply.output_tokens - 1)


@dataclass
class Seen:
    """What the users bring back, while they ask."""

    replies: list[Reply] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def take(self, request: Callable[[], Reply]) -> None:
        """Make a request and keep what became of it."""
        try:
            self.replies.append(request())
        except (ServerGone, SizerError, OSError, ValueError) as error:
            self.errors.append(error)


def summarize(  # noqa: PLR0917
    users: int, start_s: float, duration_s: float, seen: Seen, limits: Limits, unfinished: int
) -> Load:
    """The figures of the replies that came. Raises BenchmarkFailed where none did."""
    replies = list(seen.replies)
    if not replies:
        told = f": {seen.errors[0]}" if seen.errors else ""
        raise BenchmarkFailed(f"None of {users} users was answered within the time{told}", "Raise --duration.")
    end_s = start_s + duration_s
    within = [reply for reply in replies if reply.events_s[-1] <= end_s]
    good = [reply for reply in replies if limits.hold(reply)]
    # Events may hold several tokens: each stands for its share of what the server counted.
    streamed = sum(
        reply.output_tokens * sum(at_s <= end_s for at_s in reply.events_s) / len(reply.events_s) for reply in replies
    )
    prompts = [reply.prompt_tokens for reply in replies if reply.prompt_tokens]
    return Load(
        users=users,
        duration_s=duration_s,
        requests=len(replies),
        failed=len(seen.errors),
        unfinished=unfinished,
        prompt_tokens=round(sum(prompts) / len(prompts)) if prompts else None,
        output_tokens=sum(reply.output_tokens for reply in replies) / len(replies),
        ttft_s=percentiles([reply.run.prefill_s for reply in replies]),
        tpot_s=percentiles([tpot_s(reply) for reply in replies]),
        inter_token_s=percentiles([b - a for reply in replies for a, b in pairwise(reply.events_s)]),
        latency_s=percentiles([reply.events_s[-1] - reply.asked_s for reply in replies]),
        requests_per_s=len(within) / duration_s,
        throughput_tokens_per_s=streamed / duration_s,
        goodput_requests_per_s=sum(map(limits.hold, within)) / duration_s if limits.any else None,
        good_fraction=len(good) / len(replies) if limits.any else None,
        merged_tokens=any(len(reply.events_s) < reply.output_tokens for reply in replies),
    )


def load_test(
    spec: Spec, users: Sequence[int], duration_s: float, limits: Limits, stage: Callable[[str], None]
) -> list[Load]:
    """Warm up, then let each number of users ask for `duration_s`. Raises BenchmarkFailed where nobody is answered."""
    server = Server(spec.server_url)
    model, _ = choose_model(server.models(), spec.model)
    stage("warming up")
    try:
        reply = ask(server, model, spec, spec.prompt_tokens, token_hex(8))
    except ServerGone as error:
        raise BenchmarkFailed(f"The server at {spec.server_url!r} went away: {error}.", "Look at its log.") from error
    told = reply.prompt_tokens or spec.prompt_tokens
    words = max(1, round(spec.prompt_tokens**2 / told))
    found = []
    for number in users:
        stage(f"measuring ({number} users for {duration_s:g} s)")
        found.append(_load(server, model, replace(spec, prompt_tokens=words, concurrency=number), duration_s, limits))
    return found


def _load(server: Server, model: str, spec: Spec, duration_s: float, limits: Limits) -> Load:
    """One closed loop of `spec.concurrency` users."""
    seen, salt, asked = Seen(), token_hex(8), count()
    start_s = time.perf_counter()
    end_s = start_s + duration_s

    def user(number: int) -> None:
        while time.perf_counter() < end_s and not seen.errors and (index := next(asked)) < MOST_REQUESTS:
            seen.take(partial(ask, server, model, spec, spec.prompt_tokens, f"{salt} {number} {index}"))

    threads = [threading.Thread(target=user, args=(number,), daemon=True) for number in range(spec.concurrency)]
    for thread in threads:
        thread.start()
    last_s = end_s + LONGEST_AFTERMATH_S
    for thread in threads:
        thread.join(max(0.0, last_s - time.perf_counter()))
    unfinished = sum(thread.is_alive() for thread in threads)
    return summarize(spec.concurrency, start_s, duration_s, seen, limits, unfinished)
