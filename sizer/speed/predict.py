"""Decode, prefill and request speed of a placed model. Pure arithmetic on records and fitted constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import exp, hypot, inf, log

from sizer.device.kinds import device_family
from sizer.device.records import is_cpu
from sizer.model.architecture import Basis
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import Chunks
from sizer.speed.deeper import no_faster_than_shallower
from sizer.speed.device_rates import peak_doubt
from sizer.speed.hosted import cache_share_away, host_share
from sizer.speed.kernels import precision_class
from sizer.speed.law import (
    Amount,
    Constants,
    combine,
    constants,
    factors,
    parts_of,
)
from sizer.speed.limits import bandwidth_limit, products_limit
from sizer.speed.nearby import cache_beside, correction, rows_of, traits
from sizer.speed.prompt_terms import prefill_amounts, prompt_traffic
from sizer.speed.records import NONE, Correction, Decode, Depth, Prefill, Speed, request_of
from sizer.speed.splits import parallelism
from sizer.speed.stages import Step, Timed
from sizer.speed.terms import decode_amounts, step_traffic, switches_where_faster, vector_rows
from sizer.speed.traffic import Traffic
from sizer.speed.widths import Asked, widest
from sizer.workload import Split

OTHER_ENGINES = "other engines"
FEW_LEFT = 8
"""Up to how many tokens that are left over of a prompt are weighed against as many steps of one: more share a pass."""
TOLD_SHARE = 0.03
"""An empty and a full cache are told apart where their speeds differ by more."""
EVIDENCE_LEVELS = ("engine device", "backend generation", "backend family", "backend", "engine", "none")


def timed(amounts: Sequence[Amount], case: SpeedCase, fitted: Constants) -> Timed:
    """The time of a step out of its amounts."""
    factor_of = factors(fitted, tuple(case.groups.values()), case.owners)
    terms = tuple((amount, amount.weighed_s(factor_of[amount.term]) if amount.nominal_s else 0.0) for amount in amounts)
    return Timed(combine(parts_of(terms)), terms)


def predict(case: SpeedCase, fitted: Constants | None = None) -> Speed:
    """The speed of a case, with 90 % intervals. Raises SizerError where the device's bandwidth is not known."""
    fitted = fitted or constants()
    decode, decode_step = decode_of(case, fitted)
    decode = decode._replace(depth=depth_of(case, decode, fitted))
    prefill, prefill_step = prefill_of(case, fitted, step_s=1 / decode.tokens_per_s)
    stages = decode_step.stages(1 / decode.tokens_per_s), prefill_step.stages(prefill.ttft_s)
    return Speed(decode, prefill, request_of(case.workload, decode, prefill), *stages, _notes(case, fitted))


def evidence(case: SpeedCase, fitted: Constants) -> str:
    """The narrowest group of the case that was measured: what the width of the interval follows."""
    found = case.groups
    return next((level for level in EVIDENCE_LEVELS[:-1] if fitted.counts.get(found[level], 0)), "none")


def _asked(case: SpeedCase, fitted: Constants, nearest: float) -> Asked:
    """What the width of a case's intervals follows."""
    named = case.groups
    return Asked(
        evidence(case, fitted),
        nearest,
        fitted.counts.get(named["backend kernel"], 0),
        case.engine.name,
        named["backend"].partition(": ")[2],
        named["era"].partition(": ")[2],
        device_family(case.device),
        precision_class(case.stored.precision)[1],
        case.architecture.experts is not None,
    )


def _interval(rate: float, case: SpeedCase, fitted: Constants, quantity: str, said: Correction) -> tuple[float, float]:
    engine, found = case.engine.name, _asked(case, fitted, said.nearest).groups
    stretches = fitted.stretches[quantity]
    stretch = stretches.get(engine, stretches[OTHER_ENGINES])
    low, high = fitted.widths[quantity].ends(found, stretch, widest(quantity, enough_rows=engine in stretches))
    slower, faster = peak_doubt(case.device) if quantity == "prefill" else (0.0, 0.0)
    return rate * exp(-hypot(low, slower)), rate * exp(hypot(high, faster))


def said_nearby(case: SpeedCase, step: Timed, quantity: str, tokens: int) -> Correction:
    """What measured rows of this engine on this device say of the case; nothing where part of it lies on the host."""
    if host_share(case) or cache_share_away(case):
        return NONE
    amounts = [amount for amount, _ in step.terms]
    asked = traits(case, amounts, tokens)
    rows = rows_of(asked.pair, quantity)
    said = correction(asked, rows)
    if quantity != "decode" or said is NONE:
        return said
    ordered = no_faster_than_shallower(said.log_factor, asked, rows, step, cache_beside(amounts))
    return said._replace(log_factor=ordered)


def replicas(case: SpeedCase) -> int:
    """Copies of the model that serve requests side by side."""
    return len(case.devices) if parallelism(case) is Split.DATA else 1


def decode_of(
    case: SpeedCase, fitted: Constants, tokens_per_sequence: int = 1, outputs: int | None = None
) -> tuple[Decode, Step]:
    """Decode speed of one sequence, and its step.

    With more than one of its tokens a step (a verification), the speed is that of steps. `outputs` is as in
    `decode_traffic`.
    """
    traffic, step, said = _heard_step(case, fitted, tokens_per_sequence, outputs)
    limit = bandwidth_limit(amount for amount, _ in step.terms)
    rate = _rate(step, said, limit)
    low, high = _interval(rate, case, fitted, "decode", said)
    high = max(rate, min(high, limit))
    bytes_per_token = round(traffic.bytes_read / max(1, case.workload.batch_size))
    return Decode(rate, low, high, bytes_per_token, step.bound, said), Step(traffic, step)


def _heard_step(
    case: SpeedCase, fitted: Constants, tokens_per_sequence: int = 1, outputs: int | None = None
) -> tuple[Traffic, Timed, Correction]:
    """A decode step in order with fewer tokens, and what rows near it say of it."""
    traffic, step, alone = _ordered_step(case, fitted, tokens_per_sequence, outputs)
    said = said_nearby(case, step, "decode", traffic.tokens)
    fewer = _fewer(case.workload.batch_size) if said.log_factor and tokens_per_sequence == 1 else 1
    if fewer > 1:
        _, step_of_fewer, said_of_fewer = _heard_step(case.of_sequences(fewer), fitted)
        limit = bandwidth_limit(amount for amount, _ in step_of_fewer.terms)
        fewer_s = 1 / _rate(step_of_fewer, said_of_fewer, limit)
        said = _between(said, step, case.workload.batch_size / fewer, fewer_s)
    elif traffic.tokens > 1:
        said = _between(said, step, traffic.tokens, _heard_s(case.of_sequences(1), alone, "decode", 1))
    return traffic, step, said


def _rate(step: Timed, said: Correction, limit: float) -> float:
    """Steps a second: no more than the memory lets by, as far as the law keeps to that."""
    return min(exp(said.log_factor) / step.total_s, max(limit, 1 / step.total_s))


def _fewer(sequences: int) -> int:
    """The most sequences of 1, 2, 4, 8 … that are fewer; 1 of one."""
    return 1 << max(0, (sequences - 1).bit_length() - 1)


def step_of(case: SpeedCase, tokens_per_sequence: int, fitted: Constants) -> Timed:
    """The time of one step that runs `tokens_per_sequence` tokens of each sequence."""
    return _ordered_step(case, fitted, tokens_per_sequence)[1]


def _step(
    case: SpeedCase, fitted: Constants, tokens_per_sequence: int = 1, outputs: int | None = None
) -> tuple[Traffic, Timed]:
    """The traffic of a decode step, and its time by its terms alone."""
    asked = (fitted, tokens_per_sequence, outputs)
    if asked not in case.kept:
        traffic = step_traffic(case, tokens_per_sequence, outputs)
        case.kept[asked] = traffic, timed(decode_amounts(case, traffic), case, fitted)
    found: tuple[Traffic, Timed] = case.kept[asked]
    return found


def _ordered_step(
    case: SpeedCase, fitted: Constants, tokens_per_sequence: int = 1, outputs: int | None = None
) -> tuple[Traffic, Timed, Timed]:
    """The traffic of a decode step, its time in order with fewer tokens, and the time of a step of one token."""
    traffic, step = _step(case, fitted, tokens_per_sequence, outputs)
    if traffic.tokens == 1:
        return traffic, step, step
    _, alone = _step(case.of_sequences(1), fitted)
    return traffic, _in_order(step, alone.total_s, case, traffic, fitted), alone


def _in_order(step: Timed, alone_s: float, case: SpeedCase, traffic: Traffic, fitted: Constants) -> Timed:
    """A step of several tokens, no faster than the most that are multiplied by vectors, and no slower than so many
    steps of one token: where kernels change, one of the two is told too slow or too fast. More sequences are no slower
    than fewer of them one after the other: together they make no less. Cores of an engine of one kernel take no longer
    than to read as many tokens of prompts. Where an engine turns to blocks as soon as they take no longer, each further
    vector takes its share of a block at the most."""
    tokens, sequences, rows = traffic.tokens, case.workload.batch_size, vector_rows(case)

    @cache
    def part_s(part: int, each: int = 1) -> float:
        return _step(case.of_sequences(part), fitted, each)[1].total_s

    parts_s = _in_parts_s(sequences, part_s, _most_on_host(case)) if tokens == sequences else inf
    total_s = min(step.total_s, parts_s)
    each_s = inf
    if rows and switches_where_faster(case) and case.architecture.experts is None:
        several = rows + 1 if tokens == sequences else sequences
        each_s = max(0.0, part_s(several, -(-(rows + 1) // several)) - alone_s) / rows
    if 0 < rows < tokens:
        several = min(rows, sequences)
        fewer_s = min(part_s(rows), _in_parts_s(rows, part_s)) if several == rows else part_s(several, rows // several)
        total_s = max(total_s, min(fewer_s, rows * alone_s, alone_s + (rows - 1) * each_s))
    elif rows:
        total_s = min(total_s, alone_s + (tokens - 1) * each_s)
    if not rows and is_cpu(case.device):
        total_s = min(total_s, max(alone_s, _as_prompts_s(case, traffic, fitted)))
    return replace(step, total_s=min(total_s, tokens * alone_s))


def _in_parts_s(sequences: int, part_s: Callable[[int], float], beside: int = 0) -> float:
    """Seconds of as many sequences in steps of 2, 3, 4, 6, 8 … of them, or of `beside`, whichever is fastest; endless
    where none is fewer."""
    parts = [part for power in range(1, sequences.bit_length()) for part in (2**power, 3 * 2 ** (power - 1))]
    return min((sequences / part * part_s(part) for part in (*parts, beside) if 0 < part < sequences), default=inf)


def _most_on_host(case: SpeedCase) -> int:
    """The most tokens of a step by which the host multiplies what lies there; 0 where nothing does, or all steps."""
    least = case.reading.streams_from_tokens
    return int(least) - 1 if host_share(case) and 1 < least < inf else 0


def _as_prompts_s(case: SpeedCase, traffic: Traffic, fitted: Constants) -> float:
    """Seconds in which a step's tokens are read as prompts behind the cache, an output for each: by the same products,
    of which prompts were measured on CPUs, and steps of several tokens hardly."""
    sequences, cached = case.workload.batch_size, case.workload.decode_context_tokens
    each = traffic.tokens // sequences
    workload = replace(case.workload, prompt_tokens=each, output_tokens=1, context_tokens=cached + each + 1)
    reading = case.of_workload(workload)
    read, chunks = prompt_traffic(reading, cached)
    prompts_s = timed(prefill_amounts(reading, read, chunks), reading, fitted).total_s
    return prompts_s * max(1.0, traffic.flops / max(1, read.flops))


def _heard_s(case: SpeedCase, step: Timed, quantity: str, tokens: int) -> float:
    """Seconds of a step or a prompt with what rows near it say."""
    return step.total_s / exp(said_nearby(case, step, quantity, tokens).log_factor)


def _between(said: Correction, step: Timed, times: float, fewer_s: float) -> Correction:
    """What rows say as far as a step takes no less than one of fewer tokens (or prompts) and no more than as many of
    these: rows of few and of many are heard apart, and how they scatter is no gain of a batch."""
    told_s = min(max(step.total_s / exp(said.log_factor), fewer_s), times * fewer_s)
    return said._replace(log_factor=log(step.total_s / told_s))


def depth_of(case: SpeedCase, decode: Decode, fitted: Constants) -> Depth | None:
    """Decode with an empty and with a full cache; None where the two differ by no more than 3 %.

    What measured rows near the case say holds for both.
    """
    if not case.architecture.decodes:
        return None
    full = case.workload.context_tokens
    traffic = step_traffic(_with_cache(case, full))
    if traffic.stage("kv").cache_bytes < TOLD_SHARE / 4 * traffic.bytes_read:
        return None  # so little of the bytes makes no such difference
    scale = exp(decode.nearby.log_factor)
    empty_s, full_s = (_step(_with_cache(case, tokens), fitted)[1].total_s for tokens in (1, full))
    return Depth(scale / empty_s, scale / full_s, full) if full_s > (1 + TOLD_SHARE) * empty_s else None


def _with_cache(case: SpeedCase, tokens: int) -> SpeedCase:
    """The case with so many tokens in the cache while it decodes."""
    workload = replace(case.workload, prompt_tokens=max(1, tokens - 1), output_tokens=1, context_tokens=max(2, tokens))
    return case.of_workload(workload)


def prefill_of(
    case: SpeedCase, fitted: Constants, cached_tokens: int = 0, *, step_s: float = inf
) -> tuple[Prefill, Step]:
    """Prefill speed of all sequences behind `cached_tokens` tokens in the cache, and its step.

    `step_s` is the case's decode step where that is known: a prompt of twice its time takes longer than a step with an
    empty cache, too, which is then not worked out.
    """
    traffic, chunks = prompt_traffic(case, cached_tokens)
    step = timed(prefill_amounts(case, traffic, chunks), case, fitted)
    said = said_nearby(case, step, "prefill", case.workload.batch_size)
    if case.workload.batch_size > 1:
        one = case.of_sequences(1)
        alone = timed(prefill_amounts(one, *prompt_traffic(one, cached_tokens)), one, fitted)
        said = _between(said, step, case.workload.batch_size, _heard_s(one, alone, "prefill", 1))
    limit = products_limit(case, traffic)
    prompt_s = min(step.total_s, _rest_by_steps_s(case, chunks, fitted, cached_tokens)) / exp(said.log_factor)
    if prompt_s < 2 * step_s:
        prompt_s = max(prompt_s, _first_step_s(case, fitted))
    rate = min(traffic.tokens / prompt_s, limit)
    low, high = _interval(rate, case, fitted, "prefill", said)
    return Prefill(rate, low, min(high, limit), traffic.tokens / rate, step.bound, said), Step(traffic, step)


def _rest_by_steps_s(case: SpeedCase, chunks: Chunks, fitted: Constants, cached_tokens: int) -> float:
    """Seconds of a prompt's full chunks and then a step for each token that is left over: a last chunk of few takes no
    longer. Infinite where none is left over, or many are."""
    full, rest = divmod(chunks.tokens, chunks.size)
    if not full or not 0 < rest <= FEW_LEFT or case.workload.batch_size > 1 or not case.architecture.decodes:
        return inf
    workload = replace(case.workload, prompt_tokens=chunks.tokens - rest)
    before = case.of_workload(workload)
    full_s = timed(prefill_amounts(before, *prompt_traffic(before, cached_tokens)), before, fitted).total_s
    return full_s + rest * _step(_with_cache(case, cached_tokens + chunks.tokens), fitted)[1].total_s


def _first_step_s(case: SpeedCase, fitted: Constants) -> float:
    """Seconds of a decode step with an empty cache: reading a prompt moves as many bytes and multiplies no less."""
    if not case.architecture.decodes:
        return 0.0
    _, step, said = _heard_step(_with_cache(case, 1), fitted)
    return step.total_s / exp(said.log_factor)


def _notes(case: SpeedCase, fitted: Constants) -> tuple[str, ...]:
    """What a reader of the speed must know: what was never measured, and where it is told otherwise than it runs."""
    notes = []
    level = evidence(case, fitted)
    if level == "none":
        notes.append(f"No measured row of {case.engine.name} on {case.backend}: its speed is that of engines like it.")
    elif level != "engine device":
        notes.append(
            f"{case.device.name} was not measured with {case.engine.name}: its speed is that of devices like it."
        )
    if case.workload.batch_size > 1 and is_cpu(case.device):
        notes.append("Few CPUs were measured with several sequences: they are told by how fast prompts are read.")
    most = _most_on_host(case)
    if 0 < most < case.workload.batch_size and step_of(case, 1, fitted).total_s < _step(case, fitted)[1].total_s:
        notes.append(
            f"From {most + 1} sequences on {case.engine.name} sends what lies on the host over the link, slower "
            f"than to compute there: told as if no more than {most} ran at once."
        )
    if case.architecture.basis is Basis.NAME and not case.architecture.layers:
        notes.append("Layers and cache are not known from the name: per-layer costs are those of models of its size.")
    return tuple(notes)
