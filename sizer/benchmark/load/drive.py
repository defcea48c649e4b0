"""Sends a load to a server: closed loops of users, or arrivals by chance, within a time that nothing outlasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from random import Random
from secrets import token_hex
from urllib.parse import urlsplit

from sizer.benchmark.load.asked import MOST_USERS, LoadAsked
from sizer.benchmark.load.figures import MeasuredLoad, Seen, judge_load, summarize
from sizer.benchmark.load.requests import Request, drawn, replayed
from sizer.benchmark.observe import judge_machine, snapshot
from sizer.benchmark.records import Caution
from sizer.benchmark.run_warnings import Warn
from sizer.benchmark.server_backend import Reply, ask, choose_model, prompt_text
from sizer.benchmark.sse import Server, ServerGone
from sizer.deadline import Answer, DeadlinePassed, in_time
from sizer.errors import BenchmarkFailed
from sizer.frozen import dataclass
from sizer.serving.load import Load
from sizer.units import format_seconds

MOST_REQUESTS = 1_000_000
"""Requests of one load test: their records are kept in memory."""
MOST_FAILURES = 16
"""Requests that may fail before a load ends: a server that only refuses is not asked on."""
THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1"})
LONGEST_AFTERMATH_S = 60.0
"""How long answers that run when the time is over are waited for; later ones count as unfinished."""

Stage = Callable[[str], None]


class Client:
    """A server with the model to ask, and how many made-up words are a token of its."""

    def __init__(self, asked: LoadAsked, deadline_s: float) -> None:
        self.asked, self.deadline_s = asked, deadline_s
        self.server = Server(asked.server_url)
        self.words_per_token = 1.0
        self.model, self.engine = within(
            deadline_s, lambda: choose_model(self.server.models(), asked.model), "listing its models"
        )

    def warm_up(self) -> None:
        """One request, which also tells how many tokens the words are."""
        tokens = self.asked.prompt.mean_tokens
        request = Request(tokens, min(8, max(2, self.asked.output.mean_tokens)))
        try:
            reply = within(self.deadline_s, lambda: self.request(request, token_hex(8)), "warming up")
        except ServerGone as error:
            raise BenchmarkFailed(
                f"The server at {self.asked.server_url!r} went away: {error}.", "Look at its log."
            ) from error
        self.words_per_token = tokens / (reply.prompt_tokens or tokens)

    def request(self, request: Request, seed: str, asked_s: float | None = None) -> Reply:
        """One streamed answer. Made-up words are as no other request's: no cache of an earlier prompt helps."""
        words = max(1, round(request.prompt_tokens * self.words_per_token))
        content = request.content or prompt_text(words, seed)
        return ask(self.server, self.model, content, request.output_tokens, asked_s)

    def again(self) -> Client:
        """The same for the next load, with connections of its own."""
        fresh = copy(self)
        fresh.server = self.server.again()
        return fresh


def within(deadline_s: float, call: Callable[[], Answer], what: str) -> Answer:
    """What a call gives before the deadline (on `time.perf_counter`). Raises BenchmarkFailed."""
    try:
        return in_time(call, deadline_s - time.perf_counter())
    except DeadlinePassed:
        raise BenchmarkFailed(f"The server did not answer within --timeout ({what}).", "Raise --timeout.") from None


def drive(client: Client, load: Load) -> tuple[Seen, float, float]:
    """One load: what came, when it began (on `time.perf_counter`) and how many seconds of asking it had."""
    asked, seen, salt = client.asked, Seen(), token_hex(8)
    requests = replayed(asked.requests) if asked.requests else drawn(asked.prompt, asked.output)
    start_s = time.perf_counter()
    end_s = min(start_s + asked.duration_s, client.deadline_s)
    turns = _Turns(islice(requests, MOST_REQUESTS), end_s, seen)
    send = partial(_send, client, seen, salt)
    threads = _users(turns, send, load.users) if load.users else _arrivals(turns, send, load.rate_per_s or 1.0)
    last_s = min(end_s + LONGEST_AFTERMATH_S, client.deadline_s)
    for thread in threads:
        thread.join(max(0.0, last_s - time.perf_counter()))
    came = Seen(list(seen.replies), list(seen.errors), sum(thread.is_alive() for thread in threads))
    client.server.abandon()
    return came, start_s, max(end_s - start_s, 1e-9)


class _Turns:
    """Hands out requests, one to each who asks, until the time is over or too many have failed; one at least."""

    def __init__(self, requests: Iterator[Request], end_s: float, seen: Seen) -> None:
        self.requests, self.end_s, self.seen = requests, end_s, seen
        self.number = 0
        self.lock = threading.Lock()

    def next(self) -> tuple[int, Request] | None:
        """The next request with its number; None where no more are to be sent."""
        with self.lock:
            over = self.number > 0 and time.perf_counter() >= self.end_s
            if over or len(self.seen.errors) >= MOST_FAILURES:
                return None
            self.number += 1
            request = next(self.requests, None)
            return None if request is None else (self.number, request)


def _send(client: Client, seen: Seen, salt: str, turn: tuple[int, Request], asked_s: float | None = None) -> None:
    number, request = turn
    seen.take(partial(client.request, request, f"{salt} {number}", asked_s))


def _users(turns: _Turns, send: Callable[..., None], users: int) -> list[threading.Thread]:
    """So many at once, each asking again as soon as it is answered."""

    def user() -> None:
        while turn := turns.next():
            send(turn)

    threads = [threading.Thread(target=user, daemon=True) for _ in range(users)]
    for thread in threads:
        thread.start()
    return threads


def _arrivals(turns: _Turns, send: Callable[..., None], rate_per_s: float) -> list[threading.Thread]:
    """Requests at exponential distances. One that finds every place of this client taken waits, and its wait counts."""
    random = Random(0)  # noqa: S311 - a workload, no secret
    due: SimpleQueue[tuple[tuple[int, Request], float] | None] = SimpleQueue()
    threads: list[threading.Thread] = []
    idle = threading.Semaphore(0)

    def serve() -> None:
        while item := due.get():
            send(*item)
            idle.release()

    at_s = time.perf_counter()
    while (at_s := at_s + random.expovariate(rate_per_s)) < turns.end_s:
        time.sleep(max(0.0, at_s - time.perf_counter()))
        turn = turns.next()
        if turn is None:
            break
        if not idle.acquire(blocking=False) and len(threads) < MOST_USERS:
            threads.append(threading.Thread(target=serve, daemon=True))
            threads[-1].start()
        due.put((turn, at_s))
    for _ in threads:
        due.put(None)
    return threads


class MachineWatch:
    """What happens on this machine from now on that spoils the timings of a server: here, what holds it back (its own
    work is no other's); of one elsewhere, other programs that hold this client back."""

    def __init__(self, server_url: str) -> None:
        from importlib.util import find_spec

        self.is_here = (urlsplit(server_url).hostname or "") in THIS_HOST
        self.before = snapshot() if find_spec("psutil") else None

    def cautions(self) -> list[Caution]:
        """The warnings so far."""
        if self.before is None:
            return []
        seen = judge_machine(self.before, snapshot())
        return [one for one in seen if (one.code == Warn.OTHER_PROCESS.code) != self.is_here]


@dataclass(frozen=True, slots=True)
class Driven:
    """A load with what its users saw, and prompt and output tokens of each answer by the server's count."""

    load: Load
    measured: MeasuredLoad
    sizes: tuple[tuple[int, int], ...]


def load_test(asked: LoadAsked, stage: Stage, done: Callable[[Driven], None]) -> Client:
    """Warm up, then each load in turn; `done` is told each as it is measured.

    Raises BenchmarkFailed where nobody is answered. Loads that the timeout leaves no time for are left out.
    """
    deadline_s = time.perf_counter() + asked.timeout_s
    stage(f"asking {asked.server_url}")
    client = Client(asked, deadline_s)
    stage("warming up")
    client.warm_up()
    loads = asked.stages()
    for number, load in enumerate(loads, 1):
        if time.perf_counter() >= deadline_s:
            break
        left = format_seconds((len(loads) - number + 1) * asked.duration_s)
        stage(f"measuring {load.words} (load {number} of {len(loads)}, about {left} left)")
        client = client.again()
        watch = MachineWatch(asked.server_url)
        seen, start_s, seconds = drive(client, load)
        measured = summarize(load, start_s, seconds, seen, asked.limits)
        tokens = None if asked.requests else load.output_tokens
        measured = replace(measured, warnings=(*judge_load(measured, tokens), *watch.cautions()))
        sizes = ((reply.prompt_tokens or load.prompt_tokens, reply.output_tokens) for reply in seen.replies)
        done(Driven(load, measured, tuple(sizes)))
    return client
