"""Continuous batching over time, by engine steps: requests arrive, are read in chunks, decode, end, are preempted.

Between two events (an arrival, an end, a full cache) a run of decode steps is one: its steps differ only in depth, in
which a step's time is linear between the points of the law's table. All decoding sequences gain a token a step, so a
sequence's end is known when it starts: the time of a run needs no loop over sequences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from math import ceil
from operator import sub
from random import Random

from sizer.errors import UsageError
from sizer.serving.load import MOST_TOKENS, Load
from sizer.serving.request import COUNTS, Request
from sizer.serving.rules import Scheduler
from sizer.serving.simulated import Simulated
from sizer.serving.steps import StepLaw

MOST_STEPS = 400_000
"""Simulated engine steps or runs of them, at most: what is not reached by then is not answered."""
MOST_REQUESTS = 20_000
LEAST_STEADY = 20
"""Requests that must end in the steady part for the rate to be that part's alone; with fewer it is the whole run's."""
FREE_SHARE = 0.01
"""Of the cache, kept free at admission (vLLM's block manager keeps the same watermark)."""


class Simulation:
    """One engine's replica under one load. `run` once."""

    def __init__(
        self,
        law: StepLaw,
        rules: Scheduler,
        load: Load,
        cache_tokens: float | None,
        *,
        requests: int,
        request_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        if requests > MOST_REQUESTS:
            raise UsageError(f"{requests} simulated requests are more than {MOST_REQUESTS:,}.")
        self.law, self.rules, self.load = law, rules, load
        self.cache = float("inf") if cache_tokens is None else float(cache_tokens)
        self.request_s = request_s
        self.random = Random(seed)  # noqa: S311 (a seeded simulation)
        self.to_come = requests
        self.now = self.busy = 0.0
        self.steps = 0  # decode steps so far
        self.events = 0
        self.waiting: deque[Request] = deque()
        self.reading: deque[Request] = deque()
        self.ends: list[tuple[int, int, Request]] = []
        self.decoding: dict[int, Request] = {}
        self.depth_sum = 0.0  # cached tokens of the decoding sequences
        self.held_sum = 0.0  # cached tokens of the reading ones, reservations included
        self.all: list[Request] = []
        self.arrivals: deque[float] = deque()
        self.preemptions = 0
        self.kv_area = self.kv_peak = self.running_area = self.decoding_area = 0.0
        self.counts = [0.0] * len(COUNTS)
        self.prompt_s = 0.0
        self.blocked = {"cache": 0, "sequences": 0}

    # -- arrivals ---------------------------------------------------------------------------------------------------

    def _arrive(self, at_s: float) -> None:
        prompt, output = self.load.lengths(self.random)
        unread = self.load.unread(prompt)
        request = Request(at_s, prompt, output, unread, order=len(self.all), seen=(tuple(self.counts),))
        self.all.append(request)
        self.waiting.append(request)
        self.to_come -= 1

    def _start(self) -> None:
        users, rate = self.load.users, self.load.rate_per_s
        if users is not None:
            for _ in range(min(users, self.to_come)):
                self._arrive(0.0)
            return
        at = 0.0
        for _ in range(self.to_come):
            at += self.random.expovariate(rate or 1.0)
            self.arrivals.append(at)

    def _take_arrivals(self) -> None:
        while self.arrivals and self.arrivals[0] <= self.now:
            self._arrive(self.arrivals.popleft())

    # -- the cache --------------------------------------------------------------------------------------------------

    @property
    def used(self) -> float:
        """Tokens that the cache holds or has promised; what all prompts share it holds once."""
        others = len(self.decoding) + len(self.reading) - 1
        return self.depth_sum + self.held_sum - self.load.shared_tokens * max(0, others)

    def _needs(self, request: Request) -> float:
        """Tokens that admission sets aside: the prompt, or the whole request."""
        whole = request.prompt + (request.output if self.rules.reserves == "whole" else request.generated + 1)
        return float(whole - (self.load.shared_tokens if self.decoding or self.reading else 0))

    def _margin(self) -> float:
        """Tokens kept free when sequences grow, so that the next step does not throw out what was just let in."""
        if self.rules.reserves == "whole" or not (self.decoding or self.reading):
            return 0.0
        return FREE_SHARE * min(self.cache, MOST_TOKENS) + len(self.decoding)

    def _admit(self) -> None:
        while self.waiting:
            if len(self.reading) + len(self.decoding) >= self.rules.max_sequences:
                self.blocked["sequences"] += 1
                return
            request = self.waiting[0]
            needs = self._needs(request)
            if self.used + needs + self._margin() > self.cache:
                if self.reading or self.decoding:
                    self.blocked["cache"] += 1
                    return
                raise UsageError(
                    f"a request of {request.prompt + request.output:,} tokens does not fit into a cache of "
                    f"{self.cache:,.0f} tokens."
                )
            self.waiting.popleft()
            request.held = int(needs) + (self.load.shared_tokens if self.decoding or self.reading else 0)
            self.held_sum += request.held
            self.reading.append(request)

    def _preempt(self) -> None:
        """Throw the last admitted sequence out; it is read again, with what it had generated."""
        order = max(self.decoding)
        request = self.decoding.pop(order)
        gained = (self.steps - request.since) * self.law.tokens_a_step
        self.depth_sum -= request.held + gained
        request.generated += int(gained)
        request.unread = request.prompt + request.generated
        request.ends_at = -1
        self.waiting.appendleft(request)
        self.preemptions += 1

    # -- steps ------------------------------------------------------------------------------------------------------

    def _in_system(self) -> int:
        """Requests that arrived and are not answered."""
        return len(self.decoding) + len(self.reading) + len(self.waiting)

    def _pass(self, time_s: float) -> None:
        self.now += time_s
        self.busy += time_s
        self.running_area += time_s * self._in_system()
        self.decoding_area += time_s * len(self.decoding)
        self.kv_area += time_s * self.used
        self.kv_peak = max(self.kv_peak, self.used)

    def _prompt_step(self) -> None:
        """One step that reads prompts, beside the decodes or alone."""
        beside = self.rules.prompts == "beside"
        decodes = len(self.decoding) if beside else 0
        verified = 1 + (self.law.rounds.drafts if self.law.rounds else 0)
        budget = max(self.rules.step_tokens - decodes * verified, 1)
        tokens, attention_s, read = 0, 0.0, []
        for request in self.reading:
            chunk = min(request.unread, budget - tokens)
            if chunk < request.unread and tokens and self.rules.parts:
                break
            behind = request.prompt + request.generated - request.unread
            attention_s += self.law.attention_s(behind, chunk)
            request.unread -= chunk
            tokens += chunk
            if not request.unread:
                read.append(request)
            if tokens >= budget:
                break
        depth = self.depth_sum / len(self.decoding) if decodes else 0.0
        time_s = self.law.step_s(decodes, depth, tokens, attention_s)
        self.prompt_s += time_s - (self.law.step_s(decodes, depth) if decodes else 0.0)
        self._pass(time_s)
        for index, amount in enumerate((1.0, tokens, attention_s, decodes)):
            self.counts[index] += amount
        if decodes:
            self._gain(1)
        for request in read:
            self._begin(request)

    def _begin(self, request: Request) -> None:
        """The prompt is read: the first token is out, the rest are decoded."""
        self.reading.popleft()
        self.held_sum -= request.held
        if request.first_s < 0:
            request.first_s = self.now + self.request_s
            request.seen += (tuple(self.counts),)
        request.generated += 1
        left = ceil((request.output - request.generated) / self.law.tokens_a_step)
        whole = self.rules.reserves == "whole"
        request.held = request.prompt + (request.output if whole else request.generated)
        request.since = self.steps
        if left <= 0:
            self._finish(request)
            return
        self.decoding[request.order] = request
        self.depth_sum += request.held
        request.ends_at = self.steps + left
        heappush(self.ends, (request.ends_at, request.order, request))

    def _gain(self, steps: int) -> None:
        """Every decoding sequence gains `steps` tokens; those that are done end."""
        self.steps += steps
        if self.rules.reserves != "whole":
            self.depth_sum += steps * self.law.tokens_a_step * len(self.decoding)
        while self.ends and self.ends[0][0] <= self.steps:
            ends_at, order, request = heappop(self.ends)
            if request.ends_at != ends_at or order not in self.decoding:
                continue  # preempted since
            del self.decoding[order]
            gained = 0.0 if self.rules.reserves == "whole" else (self.steps - request.since) * self.law.tokens_a_step
            self.depth_sum -= request.held + gained
            request.generated = request.output
            self._finish(request)

    def _finish(self, request: Request) -> None:
        request.done_s = self.now + self.request_s
        request.seen += (tuple(self.counts),)
        if self.load.users is not None and self.to_come > 0:
            self._arrive(request.done_s)
            self.waiting[-1].arrived_s = request.done_s

    def _mean_depth(self) -> float:
        if self.rules.reserves == "whole":
            return self.load.mean_depth
        return self.depth_sum / len(self.decoding)

    def _idle_until(self, at_s: float) -> None:
        self.now = at_s

    def _next_s(self) -> float:
        """When something happens whatever the steps are: the next arrival."""
        return self.arrivals[0] if self.arrivals else float("inf")

    def _decode_run(self) -> None:
        """Decode steps until something happens."""
        count = len(self.decoding)
        while self.ends and self.ends[0][2].ends_at != self.ends[0][0]:
            heappop(self.ends)
        run = self.ends[0][0] - self.steps
        if self.rules.reserves != "whole" and self.cache < float("inf"):
            room = int((self.cache - self.used) // (count * self.law.tokens_a_step))
            if room < 1:
                self._preempt()
                return
            run = min(run, room)
        depth = self._mean_depth()
        step_s = self.law.step_s(count, depth)
        until_s = self._next_s() - self.now
        if until_s < float("inf"):
            run = min(run, max(1, int(max(0.0, until_s) / step_s) + 1))
        self._pass(
            run * (step_s if run == 1 else self.law.step_s(count, depth + (run - 1) * self.law.tokens_a_step / 2))
        )
        self.counts[-1] += run
        self._gain(run)

    def run(self) -> Simulated:
        """Simulate until every request is answered, or the bound of steps is reached."""
        self._start()
        while self.events < MOST_STEPS:
            self.events += 1
            self._take_arrivals()
            self._admit()
            if self.reading:
                self._prompt_step()
            elif self.decoding:
                self._decode_run()
            elif self._next_s() < float("inf"):
                self._idle_until(self._next_s())
            else:
                break
        return self._result()

    def _result(self) -> Simulated:
        """What was seen. Raises UsageError where nothing was answered."""
        done = [request for request in self.all if request.done_s >= 0]
        if not done:
            raise UsageError(
                f"nothing was answered within {MOST_STEPS:,} simulated steps.", "Give a shorter --prompt or --output."
            )
        elapsed = max(self.now, 1e-12)
        cache = self.cache if self.cache != float("inf") else 0.0
        return Simulated(
            ttft_s=tuple(one.first_s - one.arrived_s for one in done),
            tpot_s=tuple((one.done_s - one.first_s) / (one.output - 1) for one in done if one.output > 1),
            latency_s=tuple(one.done_s - one.arrived_s for one in done),
            output_tokens=sum(one.output for one in done),
            prompt_tokens=sum(one.prompt for one in done),
            elapsed_s=elapsed,
            busy_s=self.busy,
            preemptions=self.preemptions,
            kv_used_fraction=self.kv_area / elapsed / cache if cache else 0.0,
            kv_peak_fraction=self.kv_peak / cache if cache else 0.0,
            mean_running=self.running_area / elapsed,
            mean_decoding=self.decoding_area / elapsed,
            finished=len(done),
            steady_requests_per_s=_steady_rate(self.all, done),
            prompt_share=self.prompt_s / max(self.busy, 1e-12),
            blocked_by_cache=self.blocked["cache"],
            blocked_by_sequences=self.blocked["sequences"],
            waited=tuple(_between(one.seen[0], one.seen[1]) for one in done),
            decoded=tuple(_between(one.seen[1], one.seen[2]) for one in done),
        )


def _steady_rate(arrived: Sequence[Request], done: Sequence[Request]) -> float:
    """Requests answered a second between the first fifth of the ends and the last arrival; a short run's mean rate."""
    ends = sorted(request.done_s for request in done)
    start, stop = ends[len(ends) // 5], max(request.arrived_s for request in arrived)
    inside = sum(start < end <= stop for end in ends)
    if inside < LEAST_STEADY:
        return len(ends) / max(ends[-1], 1e-12)
    return inside / (stop - start)


def _between(before: tuple[float, ...], after: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(sub, after, before))
