"""How many users a machine serves: names and options in, one `Capacity` a device out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sizer.api.asked import DeviceAsked, Options, WorkAsked, split_options
from sizer.api.estimates import drafting_of, told_drafting
from sizer.api.targets import targets
from sizer.errors import DoesNotFit, SizerError, UnknownEngine, UsageError
from sizer.units import parse_seconds, parse_tokens

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.device.records import Target
    from sizer.model.read.resolve import Resolved
    from sizer.model.stored import Stored
    from sizer.serving.asked import ServingAsked
    from sizer.serving.records import Capacity
    from sizer.serving.rounds import Drafts

USUAL_PROMPT_TOKENS, USUAL_OUTPUT_TOKENS = 1024, 256
"""A question with some text beside it, and an answer of a few paragraphs, where nobody says otherwise."""
SERVER_ENGINE = "vllm"
"""What people serve many users with where it runs."""


def capacity(
    model: str,
    *,
    users: int | None = None,
    rps: float | None = None,
    ttft: float | str | None = None,
    tpot: float | str | None = None,
    percentile: str = "p90",
    prefix_hit: float = 0.0,
    shared_prompt: int | str = 0,
    draft: str | None = None,
    draft_tokens: int | None = None,
    acceptance: float | None = None,
    replicas: int | None = None,
    machines: int | None = None,
    price: float | Mapping[str, float] | None = None,
    arrivals: Sequence[tuple[float, float]] = (),
    apart: bool = False,
    **options: Unpack[Options],
) -> Capacity:
    """How many users a machine serves within a time to first token and a time per token, as `sizer capacity` answers.

    >>> answer = capacity("meta-llama/Llama-3.1-8B", device="h100", ttft="1s", tpot="50ms", offline=True)
    >>> answer.max_users > 10 and answer.serving[0].meets
    True

    Times are seconds or text (`1s`, `50ms`); `price` is USD an hour of one device, or by its name; `arrivals` are
    hours of a day with their requests a second; all prompts begin with the same `shared_prompt` tokens; `draft`,
    `draft_tokens` and `acceptance` are those of `sizer.estimate`; `apart` adds prompts on devices of their own, by
    arithmetic. Raises DoesNotFit where the devices do not hold the model and one request.
    """
    from sizer.model.read.resolve import resolve
    from sizer.serving.asked import ServingAsked
    from sizer.serving.prices import stated_prices

    options.setdefault("prompt", USUAL_PROMPT_TOKENS)
    options.setdefault("output", USUAL_OUTPUT_TOKENS)
    devices, work, offline = split_options(options)
    work = replace(work, drafting=drafting_of(draft, draft_tokens, acceptance, offline=offline))
    shared = parse_tokens(shared_prompt) if isinstance(shared_prompt, str) else shared_prompt
    hours = tuple(arrivals) if isinstance(arrivals, Iterable) else (arrivals,)
    asked = ServingAsked(
        users, rps, _seconds(ttft), _seconds(tpot), percentile, prefix_hit, shared, replicas, machines,
        stated_prices(_price_texts(price)), hours, apart,
    )  # fmt: skip
    return next(capacities(resolve(model, offline=offline), devices, work, asked))


def _seconds(value: float | str | None) -> float | None:
    return parse_seconds(value) if isinstance(value, str) else value


def _price_texts(price: float | Mapping[str, float] | None) -> list[str]:
    """Prices as the command line's text: `2.10` of any device, `h100=2.10` of one."""
    if isinstance(price, Mapping):
        return [f"{name}={usd}" for name, usd in price.items()]
    return [] if price is None else [str(price)]


def capacities(resolved: Resolved, devices: DeviceAsked, work: WorkAsked, asked: ServingAsked) -> Iterator[Capacity]:
    """One capacity a target. Raises DoesNotFit, UnknownEngine and UsageError."""
    for target in targets(devices):
        yield _one(resolved, target, work, asked)


def _one(resolved: Resolved, target: Target, work: WorkAsked, asked: ServingAsked) -> Capacity:
    """The capacity of one target by the first way of `_ways` that fits. Raises UsageError for what serves nobody,
    DoesNotFit."""
    from sizer.engine.flagged import ranks
    from sizer.engine.flagged_devices import with_ranks
    from sizer.serving.answer import answer, most_users
    from sizer.serving.deployment import Served

    if not resolved.architecture.decodes:
        raise UsageError(
            f"{resolved.architecture.model_id} is an encoder: it writes no tokens that users wait for.",
            "'sizer estimate' tells how many texts a second it reads.",
        )
    work = replace(work, drafting=told_drafting(resolved.architecture, work))
    if work.flags is not None and (ranks(work.flags) or 0) > target.count:
        target = with_ranks(target, work.flags)
    if target.others:
        raise UsageError("capacity is told for equal devices.", "Name one kind, as -d 4xh100.")
    load = asked.load(work.prompt_tokens, work.output_tokens)
    split, kv_precision = work.workload().parallelism, work.kv_precision

    def case(engine: str, precision: str) -> Served:
        stored = _stored(resolved, precision, engine, work.flags.version if work.flags is not None else "")
        drafts = _drafts(work, stored, engine)
        return Served(resolved.architecture, stored, target, engine, work.flags, drafts)

    def most(engine: str, precision: str) -> int:
        return most_users(case(engine, precision), load, asked, split=split, kv_precision=kv_precision)

    error: DoesNotFit | None = None
    ways = _ways(resolved, target, work)
    for number, way in enumerate(ways):
        try:
            found = answer(case(*way), load, asked, split=split, kv_precision=kv_precision)
        except DoesNotFit as refusal:
            error = error or refusal
            continue
        if number + 1 == len(ways) or work.precisions:
            return found
        return _beside_fewer_bits(found, partial(most, *ways[number + 1]), ways[number + 1][1])
    assert error is not None
    raise error


def _drafts(work: WorkAsked, stored: Stored, engine: str) -> Drafts | None:
    """What drafts, stored as its own name says or as the model is; None where nothing does."""
    from sizer.answer.drafts import draft_named
    from sizer.engine.stored import store_for
    from sizer.model.architecture import Architecture
    from sizer.serving.rounds import Drafts

    told = work.drafting
    if told is None:
        return None
    if not isinstance(told.drafter, Architecture):
        return Drafts(told.drafter, told.draft_tokens, told.acceptance)
    named = draft_named(work.flags) if told.flagged else None
    precision = (named.quantization if named is not None else "") or stored.precision
    return Drafts((told.drafter, store_for(told.drafter, precision, engine)), told.draft_tokens, told.acceptance)


FEWER_BITS_WORTH = 1.25
"""How many more users fewer bits must serve to be told of."""


def _beside_fewer_bits(found: Capacity, most: Callable[[], int], precision: str) -> Capacity:
    """The capacity, with the most users in the next precision where memory is what binds: nobody asked for this one."""
    if found.binding != "cache" and found.met and found.machines <= 1:
        return found
    try:
        users = most()
    except SizerError:
        return found
    if users < FEWER_BITS_WORTH * max(1, found.max_users):
        return found
    note = f"In {precision} it is {users:,} users a machine: -p {precision}."
    return replace(found, assumptions=(note, *found.assumptions))


def _stored(resolved: Resolved, precision: str, engine: str, version: str) -> Stored:
    from sizer.engine.stored import store_for

    if resolved.stored is not None and resolved.stored.precision == precision:
        return resolved.stored
    return store_for(resolved.architecture, precision, engine, version)


def _ways(resolved: Resolved, target: Target, work: WorkAsked) -> list[tuple[str, str]]:
    """Engine and precision, in the order to try: as asked, else the model's own format and what needs less.

    Raises UnknownEngine where nothing runs on the device.
    """
    from sizer.engine.engines import default_engine, find_engine, nothing_runs_on
    from sizer.precision.configured import configured_precision
    from sizer.precision.names import canonical

    engine = work.engine
    if engine is not None:
        find_engine(engine).require_device(target.device)
    if work.precisions:
        names = [canonical(name) for name in work.precisions]
    elif resolved.stored is not None:
        names = [resolved.stored.precision]
    else:
        own = configured_precision(resolved.architecture) or resolved.hints.quantization
        loaded = own and (engine is None or find_engine(engine).runs(own))
        names = [own] if own and loaded else list(_usual(target, engine))
    found = []
    for name in names:
        if engine is not None:
            found.append((engine, name))
            continue
        server = find_engine(SERVER_ENGINE)
        usable = target.device.kind == "gpu" and server.backend(target.device) and server.runs(name)
        usable = usable and server.has_kernels(name, target.device)
        try:
            found.append((server.name if usable else default_engine(name, target.device), name))
        except UnknownEngine:
            if name == names[-1] and not found:
                raise
    if not found:
        raise nothing_runs_on(target.device)
    return found


def _usual(target: Target, engine: str | None) -> Iterable[str]:
    """Precisions to try where neither the user nor the model names one."""
    from sizer.engine.engines import find_engine

    server = find_engine(engine or SERVER_ENGINE)
    if server.usual_precision:
        return dict.fromkeys(("q8_0", server.usual_precision))
    of_ggml = ("q8_0", "q4_k_m") if engine is None else ()
    if target.device.kind != "gpu" or not server.backend(target.device):
        return of_ggml or ("bf16",)
    eight = ("fp8",) if "fp8" in target.device.peak_flops_per_s else ()
    names = ("bf16", *eight, "mlx-8bit", "awq-int4", "mlx-4bit")
    return [name for name in names if server.runs(name) and server.has_kernels(name, target.device)] or of_ggml
