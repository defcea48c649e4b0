"""The answer of `sizer capacity`: the way chosen, the table of users, what is assumed, a day's machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from sizer.engine.engines import find_engine
from sizer.model.architecture import Basis
from sizer.serving.apart import apart
from sizer.serving.asked import ServingAsked
from sizer.serving.capacity import (
    Choice,
    Seen,
    choose,
    ladder,
    look,
    replica,
    served_row,
)
from sizer.serving.corrections import Corrections, corrections, load_groups
from sizer.serving.day import day_of, machines_for
from sizer.serving.deployment import Deployment, Served, deployment
from sizer.serving.load import Load
from sizer.serving.options import is_measured, layouts
from sizer.serving.prices import price_of
from sizer.serving.records import Capacity, Limits, ServedRow
from sizer.speed.law import constants
from sizer.speed.predict import decode_of
from sizer.workload import Split

TOLD_APART = 0.1
"""Times of one user by the two laws that differ by more are told apart."""

CALIBRATED, LAW, ARITHMETIC = "calibrated", "law", "arithmetic"


def answer(
    served: Served, load: Load, asked: ServingAsked, *, split: Split | None = None, kv_precision: str = "fp16"
) -> Capacity:
    """The capacity of one machine, and how many of them the load asked for needs. Raises DoesNotFit, UsageError."""
    limits, known = asked.limits, corrections()
    choice, reasons = _way(served, load, asked, split, kv_precision)
    price = price_of(served.target, asked.prices)
    devices = served.target.count
    per_machine, rate = choice.users, choice.requests_per_s
    machines = asked.machines or _machines(asked, per_machine, rate)
    rows = tuple(_rows(choice, load, asked, max(1, machines), price.usd_per_device_hour * devices if price else None))
    day = day_of(asked.arrivals, rate or 0.0, price, devices, load.output_tokens) if asked.arrivals else None
    return Capacity(
        model=served.architecture.model_id,
        device=served.target.device.key,
        devices=devices,
        engine=served.engine,
        precision=served.stored.precision,
        parallelism=choice.replica.served.layout.words,
        replicas=choice.replicas,
        prompt_tokens=load.prompt_tokens,
        output_tokens=load.output_tokens,
        percentile=limits.percentile,
        ttft_limit_s=limits.ttft_s,
        tpot_limit_s=limits.tpot_s,
        kv_capacity_tokens=None if choice.replica.cache is None else int(choice.replica.cache) * choice.replicas,
        serving=rows,
        max_users=per_machine,
        binding=choice.binding,
        max_requests_per_s=rate,
        machines=machines,
        price=price.words if price else None,
        assumptions=tuple(_notes(served, load, limits, choice, reasons)),
        basis=_basis(choice, known),
        day=day,
        disaggregated=apart(choice.replica, load, limits, devices) if asked.apart else None,
        met=_met(asked, limits, machines, rows[0]),
    )


def most_users(
    served: Served, load: Load, asked: ServingAsked, *, split: Split | None = None, kv_precision: str = "fp16"
) -> int:
    """How many users one machine serves: `answer`'s `max_users`, without its rows. Raises DoesNotFit, UsageError."""
    return _way(served, load, asked, split, kv_precision)[0].users


def _way(
    served: Served, load: Load, asked: ServingAsked, split: Split | None, kv_precision: str
) -> tuple[Choice, Sequence[str]]:
    ways = list(candidates(served, load, split, asked.replicas, kv_precision))
    by_rate = asked.rps is not None or bool(asked.arrivals)
    return choose(ways, load, asked.limits, corrections(), by_rate=by_rate)


def _met(asked: ServingAsked, limits: Limits, machines: int, first: ServedRow) -> bool:
    """Whether the machines serve what is asked within the limits; a rate that never ends its queue is not served."""
    if asked.machines is not None and "rate" in first.fails:
        return False
    return not limits.any or (bool(machines) and (asked.machines is None or first.meets))


def candidates(
    served: Served,
    load: Load,
    split: Split | None = None,
    replicas: int | None = None,
    kv_precision: str = "fp16",
) -> Iterator[tuple[Deployment, int]]:
    """Each way that the devices can share the work, with how many replicas it makes of them."""
    engine = find_engine(served.engine)
    ways = layouts(
        served.architecture, engine, served.target.count, asked=split, replicas=replicas, flags=served.options
    )
    for layout, count in ways:
        target = replace(served.target, count=layout.devices)
        yield deployment(replace(served, target=target), layout, load, kv_precision=kv_precision), count


def chosen(ways: Sequence[tuple[Deployment, int]], load: Load) -> Choice:
    """The way that something runs: the only one, else the one that serves most. Raises DoesNotFit."""
    known = corrections()
    if len(ways) == 1:
        ((served, replicas),) = ways
        return Choice(replica(served, load, known), replicas, 0, "")
    return choose(ways, load, Limits(), known)[0]


def _machines(asked: ServingAsked, per_machine: int, rate: float | None) -> int:
    """How many machines serve what is asked within the limits; 0 where not one user is served so."""
    if asked.rps is not None:
        return machines_for(asked.rps, rate or 0.0)
    if asked.users is not None:
        return machines_for(asked.users, per_machine)
    return 1 if per_machine else 0


def _rows(
    choice: Choice, load: Load, asked: ServingAsked, machines: int, usd_per_hour: float | None
) -> Iterator[ServedRow]:
    """Rows of one machine by users; the load asked for on its machines comes first."""

    def row(seen: Seen, count: int) -> ServedRow:
        return served_row(choice, seen, count, usd_per_hour)

    limits = asked.limits

    if asked.rps is not None:
        each = asked.rps / (choice.replicas * machines)
        yield row(look(choice.replica, replace(load, users=None, rate_per_s=each), limits), machines)
    elif asked.users is not None:
        each_users = ceil(asked.users / (choice.replicas * machines))
        asked_row = row(look(choice.replica, replace(load, users=each_users), limits), machines)
        yield replace(asked_row, users=asked.users)
    for users in ladder(choice, None):
        yield row(look(choice.replica, replace(load, users=users), limits), 1)


def _unlike_the_law(choice: Choice) -> Iterator[str]:
    """Why one user's time per token is another than `sizer estimate`'s, where the two differ by more than a tenth."""
    served = choice.replica.served
    if served.case.target.local_ratios or served.drafts is not None:
        return
    alone, _ = decode_of(served.case.of_sequences(1), constants())
    shown_s = choice.replica.law.step_s(1, served.case.workload.context_tokens)
    if abs(shown_s * alone.tokens_per_s - 1) > TOLD_APART:
        yield (
            f"For one user alone 'sizer estimate' says {alone.tokens_per_s:.3g} tokens/s, learned from single requests "
            f"and the rows near it; the {1 / shown_s:.3g} here are a server's step, corrected where points under load "
            "are known."
        )


def _basis(choice: Choice, known: Corrections) -> str:
    """Whether points under load stand behind the figures: calibrated, the law of speed alone, or arithmetic."""
    served = choice.replica.served
    if not is_measured(served.layout):
        return ARITHMETIC
    return CALIBRATED if known.holds_for(load_groups(served.case, served.layout)) else LAW


def _beyond_points(served: Served, basis: str) -> str:
    """What a capacity rests on where no point under load is like it; empty where one is."""
    if basis == ARITHMETIC:
        return "Arithmetic only: no measured point under load has this kind of split."
    if basis == LAW:
        return (
            f"No measured point under load is of {served.engine} on such a device: steps and prompts alone take what "
            "'sizer estimate' says of as many sequences; here prompts are read beside them."
        )
    return ""


def _left_out(served: Served) -> Iterator[str]:
    """What the engine's own flags ask for that these figures leave out."""
    options = served.options
    if options is None:
        return
    if options.served_phase:
        yield f"A server for {options.served_phase} alone is told as one for both: --apart tells servers of their own."
    drafting = options.draft_method or options.draft_model
    if drafting and served.drafts is None:
        yield f"What {drafting!r} drafts is not known: steps are told without a drafter."
    if options.lora or options.lora_files:
        yield "Adapters take their memory; what their products add to a step is not told."
    if options.host_swap_bytes or options.kv_connector or options.host_cache_bytes:
        yield "A cache beside the devices counts for nothing here: --prefix-hit says what it finds."


def _prefixes(load: Load, engine: str, *, kept: bool) -> Iterator[str]:
    """What is said of the beginnings of prompts that were read before."""
    if not (load.prefix_hit or load.shared_tokens):
        return
    if not kept:
        yield f"{engine} keeps no prefix cache with these flags: every prompt is read whole."
        return
    if load.shared_tokens:
        yield f"All prompts begin with the same {load.shared_tokens:,} tokens, read once and held once by each replica."
    if load.prefix_hit:
        of = "what follows them" if load.shared_tokens else "each prompt"
        yield f"{load.prefix_hit:.0%} of {of} is found in the prefix cache: not read again, but held by each sequence."


def _notes(served: Served, load: Load, limits: Limits, choice: Choice, reasons: Sequence[str]) -> Iterator[str]:
    """What a reader must know of a capacity: the engine's rules, what limits mean, how far points under load carry
    it."""
    rules, known = choice.replica.served.rules, corrections()
    yield (
        f"{served.engine} reads up to {rules.step_tokens:,} tokens a step, prompts {rules.prompts} the decodes, "
        f"{rules.max_sequences:,} sequences at once; prompts and outputs within {load.spread:.0%} of their means."
    )
    if limits.ttft_s is not None or limits.tpot_s is not None:
        yield f"The limits hold for the {limits.percentile} of requests; a row's interval is that of its median."
    else:
        yield "No limit was given: the most users are those that never wait for cache or for a place."
    if choice.requests_per_s is not None:
        yield (
            "The answer's requests a second and the first row's arrive by chance (an open loop: bursts need room to "
            "spare); users of the other rows ask again as soon as they are answered (a closed loop), which serves more."
        )
    if served.drafts is not None:
        yield f"{served.drafts.words}: {choice.replica.law.tokens_a_step:.3g} tokens a step, by arithmetic."
    yield from _unlike_the_law(choice)
    yield from _prefixes(load, served.engine, kept=rules.prefixes)
    yield from _left_out(served)
    if len(reasons) > 1:
        yield f"Ways tried: {' '.join(reasons)}"
    if beyond := _beyond_points(served, _basis(choice, known)):
        yield beyond
    if served.target.device.memory_bytes is None and served.target.host_memory_bytes is None:
        yield f"The memory beside {served.target.device.name} is not known, and taken to suffice: --ram says it."
    longest = served.architecture.max_context_tokens
    if longest is not None and load.whole_tokens > longest:
        yield f"Prompt and output are longer than the {longest:,} tokens that the model was made for."
    yield from served.architecture.notes
    if served.architecture.basis is Basis.NAME:
        yield "The intervals here do not count what the name leaves open; those of 'sizer estimate' do."
    yield from served.stored.notes
    yield from served.target.notes
