"""What the fit sees of a row: its amounts, its groups, its measured time, and how much it is to be trusted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from sizer.answer.estimate import parallelism_of
from sizer.calibrate.contradicted import contradicted
from sizer.calibrate.differences import prompts_by_difference
from sizer.calibrate.measurements import EXCLUDING_FLAGS, ReadRow
from sizer.calibrate.observation import Observation
from sizer.calibrate.plausible import (
    UNREAD,
    impossible_decode,
    impossible_prompt,
    impossible_request,
    unknown_share,
    unlike_prompts,
)
from sizer.calibrate.rows import ResolvedRow, resolve_measurement
from sizer.device.kinds import device_family, memory_class
from sizer.device.records import Device, Target, is_cpu
from sizer.engine.flagged import with_options
from sizer.engine.memory_rules import engine_memory
from sizer.engine.options import EngineOptions
from sizer.errors import SizerError
from sizer.memory.case import Case
from sizer.memory.placement import place
from sizer.memory.records import Placement
from sizer.speed.case import SpeedCase, prompt_reading, speed_case
from sizer.speed.hosted import host_share
from sizer.speed.law import COMPUTE, OVERHEAD, Amount
from sizer.speed.nearby import traits
from sizer.speed.prompt_terms import prefill_amounts, prompt_traffic
from sizer.speed.terms import STEP_S, decode_amounts, step_traffic
from sizer.speed.traffic import Traffic
from sizer.tables import read_rows
from sizer.tuning import tuned

NOISY_FLAGS = frozenset({"rounded", "derived", "power_limited", "noisy", "other-process"})
TEACHING_FLAGS = frozenset({"aggregate", "offload", "few_threads", "verification", "drafted"})
"""Flagged rows that still teach: how batches, host memory, threads and drafts cost time."""
REQUESTS = " requests"
"""What sets flagged rows of whole requests apart from those of steps."""
EXACT_FLAGS = frozenset({"few_threads", "verification"})
"""Flagged rows that are measured as well as others: only their question is unusual."""


def with_default_host(target: Target) -> Target:
    """The target with a host to spill to where none is named: a server's beside HBM, else a desktop's."""
    if target.device.kind != "gpu" or target.host is not None:
        return target
    return replace(
        target, host=_class_of_host("server-cpu" if memory_class(target.device) == "hbm" else "consumer-cpu")
    )


@cache
def _class_of_host(name: str) -> Device:
    from sizer.device.catalogue import find

    return find(name).device


def placed(resolved: ResolvedRow, *, whole: bool = False) -> tuple[SpeedCase, SpeedCase]:
    """The cases of a row's decode and of its prompt: a model too large for the devices lies partly on the host.

    Where the devices are known to hold it `whole` it is not placed again, unless its engine sends layers to the host by
    a formula of its own.
    """
    row = resolved.measurement
    target = with_default_host(resolved.target)
    one = speed_case(
        resolved.architecture,
        resolved.stored,
        target,
        resolved.decoding,
        resolved.engine,
        backend=row.backend or None,
        engine_version=resolved.options.version or row.engine_version,
        graphs=resolved.options.graphs_of(resolved.decoding.batch_size),
    )
    one = replace(one, built=built(row))
    case = _memory_case(one, row, resolved.options)
    if case is None:
        return one, one.of_workload(resolved.prefilling)
    decoding = replace(
        one,
        placement=None if whole and not case.engine.like else _placement(case),
        reading=prompt_reading(case),
    )
    return decoding, decoding.of_workload(resolved.prefilling)


def built(row: ReadRow) -> str:
    """When a row's engine was: its source's date; a year alone counts as its middle. Empty where it has no date."""
    found = re.match(r"20\d\d(-\d\d)?(-\d\d)?", str(row.row.get("source_date") or ""))
    if not found:
        return ""
    return found[0] if found[1] else f"{found[0]}-06-30"


def _memory_case(case: SpeedCase, row: ReadRow, options: EngineOptions) -> Case | None:
    """What memory looks at; None where the engine's memory or the model's layers are not known."""
    version = options.version or row.engine_version
    date = str(row.row.get("source_date") or "")
    memory = engine_memory(case.engine.name, version, date)
    if memory is None or not case.architecture.layers:
        return None
    return Case(
        case.architecture,
        case.stored,
        case.workload,
        case.target,
        with_options(memory, options),
        parallelism_of(case.engine, case.workload),
        bool(case.engine.offload) or row.parallelism == "offload",
        "experts" in case.engine.offload,
        options.at_version(version),
        date,
    )


def _placement(case: Case) -> Placement | None:
    try:
        return place(case)[1]
    except SizerError:
        return None


def observe(rows: Iterable[ReadRow]) -> list[Observation]:
    """The observations of all rows that resolve. Flagged rows are not scored; those that teach nothing are left out, as
    are prompts that their own table contradicts."""
    found: list[Observation] = []
    cached: set[tuple[str, str, str]] = set()
    for row in rows:
        excluding = row.flags & EXCLUDING_FLAGS
        if excluding - TEACHING_FLAGS:
            continue
        try:
            every = observe_row(row)
        except SizerError:
            continue
        cached |= {_repeated(one) for one in every if one.odd.endswith(UNREAD)}
        seen = [one for one in every if not one.odd]
        trust = tuned("noisy_weight") if excluding - EXACT_FLAGS else 1.0
        found += [replace(one, apart=_apart(row, one), weight=one.weight * trust) for one in seen]
    odd = contradicted(found)
    kept = [one for one in found if one.quantity != "prefill" or one.id not in odd]
    kept = [one for one in kept if not (one.before and _repeated(one) in cached)]
    return _weighed([*kept, *prompts_by_difference(kept)])


def _repeated(row: Observation) -> tuple[str, str, str]:
    """What requests share that repeat one prompt: where one of them cannot have read it, none of them did."""
    return row.source, row.engine, row.model


def _apart(row: ReadRow, seen: Observation) -> str:
    """Why a row stands apart: its flags; a ratio is told from a time, and requests of several sequences from their
    steps."""
    flags = ", ".join(sorted(row.flags & EXCLUDING_FLAGS))
    return flags + (" over one token" if seen.against else REQUESTS if seen.before and flags else "")


def observe_row(row: ReadRow) -> list[Observation]:
    """The observations of one row: its decode step, its prefill. SizerError where it does not resolve.

    A request's and a server's steps are told with the prompts that their time holds."""
    resolved = resolve_measurement(row)
    decoding, prefilling = placed(resolved)
    hidden = unknown_share(decoding) if "offload" in row.flags else ""
    read, chunks = prompt_traffic(prefilling, resolved.prefill_depth_tokens)
    before = prefill_amounts(prefilling, read, chunks)
    found = []
    if row.decode_tokens_per_s:
        step_s = max(1, row.batch) * row.tokens_a_step / row.decode_tokens_per_s
        traffic = measured_traffic(decoding, row)
        odd = hidden or (impossible_decode(decoding, traffic, step_s) if row.metric == "decode" else "")
        amounts = decode_amounts(decoding, traffic)
        if row.metric == "served":
            amounts += (_beside(before, max(1, decoding.workload.output_tokens)),)
        seen = replace(_observation(resolved, decoding, "decode", step_s, amounts, tokens=traffic.tokens), odd=odd)
        if row.metric == "request":
            outputs = max(1, decoding.workload.output_tokens)
            odd = odd or impossible_request(decoding, traffic, read, step_s * outputs)
            seen = replace(seen, before=before, outputs=outputs, odd=odd)
        found.append(seen)
    if row.over_one:
        found.append(_over_one(resolved, decoding, row.over_one))
    if row.prefill_tokens_per_s and row.prompt_tokens:
        prompt_s = read.tokens / row.prefill_tokens_per_s
        seen = _observation(resolved, prefilling, "prefill", prompt_s, before, tokens=prefilling.workload.batch_size)
        odd = hidden or unlike_prompts(prefilling, row.context_tokens)
        found.append(replace(seen, odd=odd or impossible_prompt(prefilling, read, chunks, prompt_s)))
    return found


def _beside(prompts: tuple[Amount, ...], outputs: int) -> Amount:
    """What a server under load multiplies of prompts beside a step: while each sequence is given its `outputs` tokens,
    a prompt of each is read. Its weights are read for the decodes already."""
    return Amount("beside", COMPUTE, sum(amount.nominal_s for amount in prompts if amount.part == COMPUTE) / outputs)


def _over_one(resolved: ResolvedRow, case: SpeedCase, ratio: float) -> Observation:
    """A step of several tokens told against one of one token: it speaks for the cost of more, not for the speed.

    A round of drafts also takes what the host does for it.
    """
    row = resolved.measurement
    alone = case.of_sequences(1)
    one = decode_amounts(alone, measured_traffic(alone, replace(row, tokens_a_step=1)))
    amounts = decode_amounts(case, measured_traffic(case, row))
    if "drafted" in row.flags:
        amounts += (Amount("round", OVERHEAD, STEP_S),)
    seen = _observation(resolved, case, "decode", ratio, amounts, tokens=1)
    return replace(seen, against=one, traits=None)


def measured_traffic(case: SpeedCase, row: ReadRow) -> Traffic:
    """The traffic of the step that a row measured."""
    return step_traffic(case, row.tokens_a_step, row.outputs_a_step)


def _observation(
    resolved: ResolvedRow, case: SpeedCase, quantity: str, seconds: float, amounts: tuple[Amount, ...], *, tokens: int
) -> Observation:
    """A row as the fit takes it: its seconds, amounts, groups and weight."""
    row = resolved.measurement
    return Observation(
        id=row.id,
        quantity=quantity,
        source=row.source,
        device=case.device.key,
        model=case.architecture.model_id,
        engine=case.engine.name,
        family=device_family(case.device),
        moe=case.architecture.experts is not None,
        seconds=seconds,
        amounts=amounts,
        groups=_teaching(case),
        owners=case.owners,
        weight=_trust(row, quantity),
        traits=traits(case, amounts, tokens),
        hosted=host_share(case) > 0,
        tokens_per_s=(row.prefill_tokens_per_s if quantity == "prefill" else row.decode_tokens_per_s) or 0.0,
    )


def _teaching(case: SpeedCase) -> Mapping[str, str]:
    """The groups whose effects a row teaches: of what cores multiply with, CPUs' own rows alone tell."""
    return {level: name for level, name in case.groups.items() if level != "instructions" or is_cpu(case.device)}


def _trust(row: ReadRow, quantity: str) -> float:
    """How much a row weighs: less of noisy ones, and of prompts that owners read (`data/owners_sources.csv`), whose
    machines share a name and little else."""
    told = tuned("noisy_weight") if row.flags & NOISY_FLAGS else 1.0
    return told * tuned("owners_weight") if quantity == "prefill" and row.source in _owners() else told


@cache
def _owners() -> frozenset[str]:
    return frozenset(row["source"] for row in read_rows("owners_sources.csv"))


def _weighed(observations: list[Observation]) -> list[Observation]:
    """The observations with weights of mean 1: n rows of one source, engine and device count as a power of n."""
    power = tuned("crowd_power")
    crowds = Counter((seen.quantity, seen.source, seen.engine, seen.device) for seen in observations)
    weights = [
        seen.weight * crowds[seen.quantity, seen.source, seen.engine, seen.device] ** -power for seen in observations
    ]
    mean = sum(weights) / len(weights) if weights else 1.0
    return [replace(seen, weight=weight / mean) for seen, weight in zip(observations, weights, strict=True)]
