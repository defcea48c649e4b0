"""What a load test is asked for. Valid from birth."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path

from sizer.benchmark.load.requests import Lengths, Request, read_requests
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.serving.load import Load
from sizer.serving.records import Limits

MOST_USERS = 1024
"""Requests in flight at once, each a thread of this client's."""
LONGEST_LOAD_S = 86_400.0
"""A day."""
MOST_STAGES = 64
USUAL_PROMPT, USUAL_OUTPUT = Lengths(512, 512, 512), Lengths(128, 128, 128)
"""Tokens as `sizer estimate` takes them where nobody says otherwise."""
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """A load test of the server at `server_url`: stages of `users` at once, or of `rates_per_s` arriving by chance.

    Each stage lasts `duration_s`, all of them `timeout_s` at most. `requests` (of a file) take the place of made-up
    prompts of drawn lengths. `command` is the server's own command line; with it, or with `model`, `precision` and
    `device`, the same load is predicted.
    """

    server_url: str
    users: tuple[int, ...] = ()
    rates_per_s: tuple[float, ...] = ()
    duration_s: float = 60.0
    prompt: Lengths = USUAL_PROMPT
    output: Lengths = USUAL_OUTPUT
    requests: tuple[Request, ...] = ()
    limits: Limits = NO_LIMITS
    timeout_s: float = 3600.0
    model: str = ""
    precision: str = ""
    engine: str = ""
    device: str = ""
    device_count: int = 1
    command: str = ""
    offline: bool = False

    def __post_init__(self) -> None:
        if not self.server_url:
            raise UsageError("A load test asks a server.", "Give --server URL.")
        if bool(self.users) == bool(self.rates_per_s):
            raise UsageError("A load is either so many users at once or a rate of requests.", "Give --users or --rate.")
        if len(self.users) + len(self.rates_per_s) > MOST_STAGES:
            raise UsageError(f"A load test has at most {MOST_STAGES} stages.")
        if any(count > MOST_USERS for count in self.users):
            raise UsageError(f"More than {MOST_USERS} users are too many for one client.", "Run several.")
        if not (isfinite(self.duration_s) and 0 < self.duration_s <= LONGEST_LOAD_S):
            raise UsageError(f"--duration {self.duration_s:g} s is no time to measure.", "Give 60s, or up to a day.")
        if not self.timeout_s > 0:
            raise UsageError(f"--timeout {self.timeout_s:g} is no time.")
        if self.output.high < 2:
            raise UsageError(f"--output {self.output.words} is too short to time decoding.", "Ask for two or more.")
        self.stages()

    def stages(self) -> list[Load]:
        """The loads, one after the other. Raises UsageError for no users, or a rate that is none."""
        one = Load(self.prompt.mean_tokens, self.output.mean_tokens, users=1, spread=0.0)
        closed = [replace(one, users=count) for count in self.users]
        return closed + [replace(one, users=None, rate_per_s=rate) for rate in self.rates_per_s]


def with_requests(asked: LoadAsked, path: Path | None) -> LoadAsked:
    """The same test with the requests of a file, if one is named."""
    return asked if path is None else replace(asked, requests=read_requests(path, asked.output))
