"""What speed is made of: decoding, reading the prompt, a whole request. Times are seconds, rates a second."""

from __future__ import annotations

from typing import NamedTuple


class Decode(NamedTuple):
    """Speed of decoding: one sequence's tokens/s with its 90 % interval, None where it is not known."""

    tokens_per_s: float
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    bytes_per_token: int
    bound: str

    @property
    def tpot_s(self) -> float:
        """Time per output token."""
        return 1 / self.tokens_per_s


class Prefill(NamedTuple):
    """Speed of reading the prompt: all sequences' tokens/s with its 90 % interval, and the time to the first token."""

    tokens_per_s: float
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    ttft_s: float
    bound: str


class Request(NamedTuple):
    """A whole request: generated tokens over total time, prefill included; throughput is all sequences together."""

    tokens_per_s: float
    latency_s: float
    throughput_tokens_per_s: float


class StageTime(NamedTuple):
    """One stage of a step: what it reads, what it computes, how long it takes and what binds it."""

    stage: str
    bytes_read: int
    flops: int
    time_s: float
    bound: str


class Speed(NamedTuple):
    """Decode, prefill and request speeds of one placement, with the decode step's time by stage."""

    decode: Decode
    prefill: Prefill
    request: Request
    decode_stages: tuple[StageTime, ...] = ()
    prefill_stages: tuple[StageTime, ...] = ()
    notes: tuple[str, ...] = ()


class Speculation(NamedTuple):
    """What a draft model gains. `tokens_per_s` is one sequence's; `speedup` below 1 says that it does not pay."""

    tokens_per_step: float
    verify_cost: float
    draft_cost: float
    speedup: float
    tokens_per_s: float
