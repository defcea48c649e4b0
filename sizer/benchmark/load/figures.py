"""The figures of a load test: what the users of one load saw, of the answers that came."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from itertools import pairwise

from sizer.benchmark.records import Caution
from sizer.benchmark.run_warnings import Warn
from sizer.benchmark.server_backend import Reply
from sizer.benchmark.sse import ServerGone
from sizer.errors import BenchmarkFailed, SizerError
from sizer.frozen import dataclass
from sizer.serving.load import Load
from sizer.serving.records import Limits
from sizer.serving.simulated import Percentiles, percentiles


def good(reply: Reply, limits: Limits) -> bool:
    """Whether a request kept the limits."""
    return (limits.ttft_s is None or reply.run.prefill_s <= limits.ttft_s) and (
        limits.tpot_s is None or tpot_s(reply) <= limits.tpot_s
    )


def tpot_s(reply: Reply) -> float:
    """Seconds for each token after the first."""
    return reply.run.decode_s / (reply.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class PredictedLoad:
    """What a load was predicted to show; `low` and `high` hold 90 % of servers about the medians."""

    ttft_s: Percentiles
    tpot_s: Percentiles
    latency_s: Percentiles
    low_ttft_s: float
    high_ttft_s: float
    low_tpot_s: float
    high_tpot_s: float
    requests_per_s: float
    throughput_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """What `users` at once, or users who came at `rate_per_s`, saw within `duration_s`.

    `ttft_s` counts from asking to the first token, `tpot_s` is a request's mean time for each token after it by the
    server's own count, `inter_token_s` the pooled gaps between events, `latency_s` the whole answer. Rates count
    what was finished, or streamed, within the time. `goodput_requests_per_s` and `good_fraction` count requests
    that held the limits, None without limits. `unfinished` were still running long after; `failed` broke off.
    `predicted` is the same load simulated, `residual` measured/predicted - 1 of the medians and of the throughput;
    `warnings` are of the closed list of `sizer bench`.
    """

    users: int | None
    rate_per_s: float | None
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
    mean_in_flight: float
    mean_ttft_s: float
    mean_tpot_s: float
    predicted: PredictedLoad | None = None
    residual: Mapping[str, float | None] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()


FEWEST_ANSWERS = 10
"""Of fewer answers the p90 is one request."""
STOPPED_EARLY = 0.9
"""Answers of less than this share of the tokens asked for stopped early."""


def judge_load(measured: MeasuredLoad, output_tokens: int | None) -> list[Caution]:
    """What a load's answers tell against its figures; `output_tokens` are those asked for in the mean, if known."""
    found = []
    if measured.requests < FEWEST_ANSWERS:
        found.append(Warn.FEW_ANSWERS.caution(f"{measured.requests} answers came."))
    lost = measured.failed + measured.unfinished
    if lost:
        found.append(Warn.FAILED_REQUESTS.caution(f"{lost} of {lost + measured.requests} requests were not answered."))
    if output_tokens is not None and measured.output_tokens < STOPPED_EARLY * output_tokens:
        found.append(
            Warn.EARLY_STOP.caution(f"answers had {measured.output_tokens:.0f} tokens of {output_tokens} in the mean.")
        )
    if measured.merged_tokens:
        found.append(Warn.MERGED_TOKENS.caution("answers came in fewer events than tokens."))
    return found


@dataclasses.dataclass
class Seen:
    """What the users bring back, while they ask; `unfinished` were given up."""

    replies: list[Reply] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    unfinished: int = 0

    def take(self, request: Callable[[], Reply]) -> None:
        """Make a request and keep what became of it."""
        try:
            self.replies.append(request())
        except (ServerGone, SizerError, OSError, ValueError) as error:
            self.errors.append(error)


def summarize(load: Load, start_s: float, duration_s: float, seen: Seen, limits: Limits) -> MeasuredLoad:
    """The figures of the replies that came. Raises BenchmarkFailed where none did."""
    replies = list(seen.replies)
    if not replies:
        told = f": {str(seen.errors[0]).rstrip('.')}" if seen.errors else ""
        raise BenchmarkFailed(f"None of {load.words} was answered within the time{told}.", "Raise --duration.")
    end_s = start_s + duration_s
    within = [reply for reply in replies if reply.events_s[-1] <= end_s]
    # Events may hold several tokens: each stands for its share of what the server counted.
    streamed = sum(
        reply.output_tokens * sum(at_s <= end_s for at_s in reply.events_s) / len(reply.events_s) for reply in replies
    )
    prompts = [reply.prompt_tokens for reply in replies if reply.prompt_tokens]
    firsts, laters = [reply.run.prefill_s for reply in replies], [tpot_s(reply) for reply in replies]
    limited = limits.any
    held = sum(good(reply, limits) for reply in replies)
    return MeasuredLoad(
        users=load.users,
        rate_per_s=load.rate_per_s,
        duration_s=duration_s,
        requests=len(replies),
        failed=len(seen.errors),
        unfinished=seen.unfinished,
        prompt_tokens=round(_mean(prompts)) if prompts else None,
        output_tokens=_mean([reply.output_tokens for reply in replies]),
        ttft_s=percentiles(firsts),
        tpot_s=percentiles(laters),
        inter_token_s=percentiles([b - a for reply in replies for a, b in pairwise(reply.events_s)]),
        latency_s=percentiles([reply.events_s[-1] - reply.asked_s for reply in replies]),
        requests_per_s=len(within) / duration_s,
        throughput_tokens_per_s=streamed / duration_s,
        goodput_requests_per_s=sum(good(reply, limits) for reply in within) / duration_s if limited else None,
        good_fraction=held / len(replies) if limited else None,
        merged_tokens=any(len(reply.events_s) < reply.output_tokens for reply in replies),
        mean_in_flight=_in_flight(replies, start_s, end_s),
        mean_ttft_s=_mean(firsts),
        mean_tpot_s=_mean(laters),
    )


def _in_flight(replies: Sequence[Reply], start_s: float, end_s: float) -> float:
    """Answers under way, in the mean over the time."""
    spans = (min(end_s, reply.events_s[-1]) - max(start_s, reply.asked_s) for reply in replies)
    return sum(max(0.0, span) for span in spans) / (end_s - start_s)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
