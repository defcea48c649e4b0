"""Prompts and tokens on servers of their own: the simulation of disaggregated prefill.

Servers of prompts take what waits, up to a step's tokens each, and hand the read prompts over; servers of tokens share
the decoding sequences equally, and no prompt holds their steps up. Both work at once: a run of decode steps ends where
a prompt is read.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Any

from sizer.frozen import NamedTuple
from sizer.serving.load import Load
from sizer.serving.request import COUNTS, Request
from sizer.serving.rules import Scheduler
from sizer.serving.simulate import Simulation
from sizer.serving.steps import StepLaw


class Reading(NamedTuple):
    """Servers of prompts: how many, the law of their steps, the rules of one of them."""

    servers: int
    law: StepLaw
    rules: Scheduler


class _Step(NamedTuple):
    """A step of prompts under way: its end, its number, whose prompts it ends, its seconds, tokens and attention."""

    ends_s: float
    number: int
    requests: tuple[Request, ...]
    time_s: float
    tokens: int
    attention_s: float


class ApartSimulation(Simulation):
    """A fleet under one load: servers of prompts beside those of tokens, which the other arguments are of, all of them
    together."""

    def __init__(
        self, law: StepLaw, rules: Scheduler, load: Load, cache_tokens: float | None, *, reading: Reading, **how: Any
    ) -> None:
        super().__init__(law, rules, load, cache_tokens, **how)
        self.of_prompts = reading
        self.free_at = [0.0] * reading.servers
        heapify(self.free_at)
        self.under_way: list[_Step] = []
        self.begun = 0
        self.read: deque[Request] = deque()
        """Whose prompts are read and who wait for a place."""

    def _in_system(self) -> int:
        return super()._in_system() + len(self.read) + sum(len(step.requests) for step in self.under_way)

    def _admit(self) -> None:
        """Free servers of prompts take what waits; what is read by now takes a place where there is one."""
        while True:
            while self.free_at and self.waiting:
                self._begin_reading()
            if not (self.under_way and self.under_way[0].ends_s <= self.now):
                break
            self._hand_over(heappop(self.under_way))
        self._seat()

    def _begin_reading(self) -> None:
        """The server that was free first begins a step with what waits: whole prompts, or a chunk of a longer one."""
        law, rules = self.of_prompts.law, self.of_prompts.rules
        begins_s = max(heappop(self.free_at), self._waits_since_s(self.waiting[0]))
        tokens, attention_s, time_s = 0, 0.0, 0.0
        taken: list[Request] = []
        while self.waiting and self.waiting[0].arrived_s <= begins_s and tokens < rules.step_tokens:
            request = self.waiting[0]
            if taken and tokens + request.unread > rules.step_tokens:
                break
            taken.append(self.waiting.popleft())
            while request.unread:
                chunk = min(request.unread, rules.step_tokens)
                alone_s = law.attention_s(request.prompt + request.generated - request.unread, chunk)
                request.unread -= chunk
                if request.unread:
                    time_s += law.step_s(0, 0, chunk, alone_s)
                else:
                    tokens, attention_s = tokens + chunk, attention_s + alone_s
        time_s += law.step_s(0, 0, tokens, attention_s)
        self.begun += 1
        heappush(self.under_way, _Step(begins_s + time_s, self.begun, tuple(taken), time_s, tokens, attention_s))

    def _waits_since_s(self, request: Request) -> float:
        """When a request came to wait: as it arrived, or now that it was thrown out of the cache."""
        return self.now if request.generated else request.arrived_s

    def _hand_over(self, step: _Step) -> None:
        """The requests of a step have their first token, and its server is free."""
        heappush(self.free_at, step.ends_s)
        for request in step.requests:
            if request.first_s < 0:
                request.first_s = step.ends_s + self.request_s
                steps = (step.ends_s - request.arrived_s) / step.time_s
                begun = (-steps, -steps * step.tokens, -steps * step.attention_s, 0.0, self.counts[-1])
                request.seen = (begun, (*(0.0,) * (len(COUNTS) - 1), self.counts[-1]))
            self.read.append(request)

    def _seat(self) -> None:
        """Those whose prompts are read begin to decode, in their order, where the cache and a place are free."""
        while self.read:
            if len(self.decoding) >= self.rules.max_sequences:
                self.blocked["sequences"] += 1
                return
            if self.decoding and self.used + self._needs(self.read[0]) + self._margin() > self.cache:
                self.blocked["cache"] += 1
                return
            request = self.read.popleft()
            request.held = 0
            self.reading.append(request)
            self._begin(request)

    def _idle_until(self, at_s: float) -> None:
        self.running_area += (at_s - self.now) * self._in_system()
        super()._idle_until(at_s)

    def _next_s(self) -> float:
        return min(super()._next_s(), self.under_way[0].ends_s if self.under_way else float("inf"))
