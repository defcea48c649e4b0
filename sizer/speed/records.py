"""What speed is made of: decoding, reading the prompt, a whole request. Times are seconds, rates a second."""

from __future__ import annotations

from sizer.frozen import NamedTuple
from sizer.workload import Workload


class Correction(NamedTuple):
    """What measured rows of the same engine and die say: the logarithm of the factor on the law's speed, how many rows
    lie near (those at least a quarter as telling as one that is alike in all), and the likeness of the nearest one of
    the device itself."""

    log_factor: float
    rows: int
    nearest: float = 0.0


NONE = Correction(0.0, 0)


class Depth(NamedTuple):
    """Decode speed of one sequence with an empty and with a full cache, and how many tokens fill it."""

    empty_tokens_per_s: float
    full_tokens_per_s: float
    full_context_tokens: int


class Decode(NamedTuple):
    """Speed of decoding: one sequence's tokens/s with its 90 % interval, None where it is not known."""

    tokens_per_s: float
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    bytes_per_token: int
    bound: str
    nearby: Correction = NONE
    depth: Depth | None = None

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
    nearby: Correction = NONE


class Request(NamedTuple):
    """A whole request: generated tokens over total time, prefill included; throughput is all sequences together."""

    tokens_per_s: float
    latency_s: float
    throughput_tokens_per_s: float


def request_of(workload: Workload, decode: Decode, prefill: Prefill) -> Request:
    """A request of each of the workload's sequences at these speeds: the prompt read, then every token made."""
    output_tokens = max(1, workload.output_tokens)
    latency_s = prefill.ttft_s + output_tokens / decode.tokens_per_s
    return Request(output_tokens / latency_s, latency_s, workload.batch_size * output_tokens / latency_s)


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


class DraftMethod(NamedTuple):
    """A way of drafting beside the model: how often it runs (for each `token`, once a `round`, `none`), and what it
    reads then: decoder layers like the model's, and a share of the output head. What runs for each token drafts more
    than `deepest` tokens as a tree of that depth: a pass for each level (0: never)."""

    name: str
    spellings: tuple[str, ...]
    passes: str
    layers: float
    head: float
    deepest: int = 0


def drafts_words(name: str, tokens: int, acceptance: float) -> str:
    """`eagle drafts 3 tokens a step, each accepted with probability 0.7`."""
    return f"{name} drafts {tokens} tokens a step, each accepted with probability {acceptance:g}"


class Speculation(NamedTuple):
    """What drafting `draft_tokens` at a time gains. `tokens_per_s` is one sequence's; `speedup` below 1 says that it
    does not pay. `verify_cost` (with what runs again where states are undone so), `draft_cost` (of one drafted token)
    and `round_cost` are in plain steps.
    """

    tokens_per_step: float
    verify_cost: float
    draft_cost: float
    round_cost: float
    speedup: float
    tokens_per_s: float
    draft_tokens: int

    @property
    def round_steps(self) -> float:
        """Plain steps that a whole round costs."""
        return self.verify_cost + self.draft_tokens * self.draft_cost + self.round_cost
