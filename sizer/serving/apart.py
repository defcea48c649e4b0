"""Prompts read on devices of their own (disaggregated prefill): arithmetic on the step law, labelled so.

Some of a machine's devices only read prompts, the others only decode; the cache of a prompt crosses the link between
them. A prompt device answers one prompt after another; the decoding ones hold as many sequences as their cache and the
limit on a token's time allow. What so many users then see is simulated.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.cache_formats import cache_format
from sizer.memory.bisection import last_that_holds
from sizer.memory.cache import sequence_cache
from sizer.serving.capacity import LEAST_REQUESTS, Replica, steady
from sizer.serving.layout import UNKNOWN_LINK_BYTES_PER_S
from sizer.serving.load import Load
from sizer.serving.records import Apart, Limits
from sizer.serving.rules import MOST_SEQUENCES as MOST_PLACES
from sizer.serving.simulate_apart import ApartSimulation, Reading
from sizer.serving.simulated import Simulated, percentiles
from sizer.serving.told import prompt_alone_s
from sizer.workload import MOST_SEQUENCES

MOST_SHOWN = 6000
"""Users that are simulated at the most: three requests each are still a few seconds of work."""


def apart(one: Replica, load: Load, limits: Limits, devices: int) -> Apart | None:
    """The split of a machine's devices that answers most requests a second; None where one replica fills it."""
    each = one.served.layout.devices
    groups = devices // each
    if groups < 2:
        return None
    prompt_s = _prompt_s(one, load)
    sequences = _sequences(one, load, limits)
    decoding = sequences / (load.output_tokens * one.law.token_s(sequences, load.mean_depth)) if sequences else 0.0
    best = max(range(1, groups), key=lambda reading: min(reading / prompt_s, (groups - reading) * decoding))
    rate = min(best / prompt_s, (groups - best) * decoding)
    users = round(rate * (prompt_s + load.output_tokens * one.law.token_s(max(1, sequences), load.mean_depth)))
    readers, writers = best, groups - best
    seen = _simulated(one, replace(load, users=max(1, min(users, MOST_SHOWN)), rate_per_s=None), readers, writers)
    ttft, tpot = (percentiles(steady(times, seen[1]) or (0.0,)) for times in (seen[0].ttft_s, seen[0].tpot_s))
    return Apart(readers * each, writers * each, rate, users, _transfer_s(one, load), ttft, tpot)


def _simulated(one: Replica, load: Load, readers: int, writers: int) -> tuple[Simulated, Load]:
    """What these users see of so many servers of prompts and of tokens."""
    rules = one.served.rules
    load = load.read(prefixes=rules.prefixes)
    together = rules.with_limits(max_sequences=min(MOST_PLACES, rules.max_sequences * writers))
    writing = replace(one.law, batch_share=one.law.batch_share / writers)
    cache = None if one.cache is None else one.cache * writers
    requests = max(LEAST_REQUESTS, 3 * (load.users or 1))
    reading = Reading(readers, one.law, rules)
    seen = ApartSimulation(
        writing, together, load, cache, reading=reading, requests=requests, request_s=one.request_s
    ).run()
    return seen, load


def _prompt_s(one: Replica, load: Load) -> float:
    """Seconds to read one prompt alone, in the engine's chunks."""
    load = load.read(prefixes=one.served.rules.prefixes)
    new = round(load.new_prompt_tokens)
    return prompt_alone_s(one.law, new, one.served.rules.step_tokens, load.prompt_tokens - new)


def _sequences(one: Replica, load: Load, limits: Limits) -> int:
    """Sequences that decode at once on one group, within its cache and the limit on a token's time."""
    most = one.served.rules.max_sequences
    if one.cache is not None:
        most = min(most, int(one.cache / load.whole_tokens))
    most, limit_s = min(most, MOST_SEQUENCES), limits.tpot_s
    if limit_s is None:
        return most
    return last_that_holds(lambda sequences: one.law.token_s(sequences, load.mean_depth) <= limit_s, most)


def _transfer_s(one: Replica, load: Load) -> float:
    """Seconds that one prompt's cache takes over the link between devices."""
    case = one.served.memory
    kept = sequence_cache(
        case.architecture, load.prompt_tokens, cache_format(case.workload.kv_precision),
        case.engine.state_bytes_per_value,
    )  # fmt: skip
    return sum(kept) / (case.target.link_bytes_per_s or UNKNOWN_LINK_BYTES_PER_S)
