"""Estimates from names and options: targets, precisions, one estimate for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import (
    MOST_DRAFTED,
    USUAL_DRAFTED,
    DeviceAsked,
    Options,
    WorkAsked,
    check_number,
    check_text,
    split_options,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.answer.document import Answer
    from sizer.answer.question import Drafting
    from sizer.answer.records import Estimate
    from sizer.device.records import Device, Target
    from sizer.engine.engines import Engine
    from sizer.engine.options import EngineOptions
    from sizer.model.architecture import Architecture
    from sizer.model.read.resolve import Resolved

SIXTEEN_BIT = ("bf16", "fp16")
DEFAULT_PRECISIONS = (*SIXTEEN_BIT, "fp8", "int8", "nf4", "q8_0", "q4_k_m")
"""What a table shows when no precision is asked for: 16 bits, FP8, bitsandbytes' and the two common GGUF types."""


def targets(asked: DeviceAsked, say: Callable[[str], None] | None = None) -> list[Target]:
    """The targets of the devices asked for, with overrides and host applied.

    This machine's CPU, where nobody has measured it, is measured once (two seconds, stored); `say` is told so.
    Raises UnknownDevice with the nearest names, UsageError where figures contradict.
    """
    from sizer.device.catalogue import find
    from sizer.device.stated import described, override, power_limited, reserved

    figures = (asked.bandwidth_bytes_per_s, asked.memory_bytes, asked.flops_per_s)
    if not any(figure is not None for figure in figures):
        _measure_here(asked.names or ("this",), say)
    if asked.names:
        found = [override(find(name), *figures) for name in asked.names]
    elif any(figure is not None for figure in figures):
        found = [described(*figures)]
    else:
        found = [find("this")]
    if asked.power_limit_w is not None:
        found = [power_limited(target, asked.power_limit_w) for target in found]
    if asked.reserve_bytes is not None:
        found = [reserved(target, asked.reserve_bytes) for target in found]
    return [_with_host(target, asked) for target in found]


def _measure_here(names: Sequence[str], say: Callable[[str], None] | None) -> None:
    """Measure this machine's CPU memory once, if it is asked about and only a specification is known of it."""
    from sizer.device.catalogue import THIS_MACHINE

    if not any(name.strip().casefold() in THIS_MACHINE for name in names):
        return
    from sizer.device.detect import detect, this_target
    from sizer.device.probe import measure_once
    from sizer.device.records import is_cpu

    machine = detect()
    device = this_target(machine=machine).device
    if (
        is_cpu(device)
        and device.bandwidth_bytes_per_s is not None
        and device.bandwidth_basis in {"measured", "modules"}
    ):
        return
    if is_cpu(device):
        if say is not None:
            say("measuring this machine's memory bandwidth once ...")
        measure_once(machine)


def _with_host(target: Target, asked: DeviceAsked) -> Target:
    """The target with the host that --host, --ram and --ram-bandwidth describe."""
    from sizer.device.catalogue import find
    from sizer.device.lookup import with_system_memory
    from sizer.device.records import shares_memory
    from sizer.device.stated import described, override
    from sizer.device.usable import as_sold

    if asked.host is not None:
        host = find(asked.host)
        target = replace(target, host=host.device, host_count=host.count)
        memory_bytes = host.host_memory_bytes or host.device.memory_bytes
        if memory_bytes is not None:
            target = replace(target, host_memory_bytes=memory_bytes)
    if asked.ram_bytes is not None:
        target = with_system_memory(target, as_sold(asked.ram_bytes))
    if asked.ram_bandwidth_bytes_per_s is not None and shares_memory(target.device):
        if asked.bandwidth_bytes_per_s is None:
            target = override(target, asked.ram_bandwidth_bytes_per_s)  # the system's memory is the device's own
    elif asked.ram_bandwidth_bytes_per_s is not None:
        host_device = target.host or described(None, kind="cpu").device
        host_device = replace(host_device, bandwidth_bytes_per_s=asked.ram_bandwidth_bytes_per_s)
        target = replace(target, host=host_device)
    elif asked.ram_bytes is not None and target.host is None and not shares_memory(target.device):
        target = with_usual_host(target)
    return target


def with_usual_host(target: Target) -> Target:
    """The target with the host that most have, and a note that it was assumed."""
    from sizer.device.catalogue import find

    usual = find("consumer-cpu").device
    note = f"The host's bandwidth is taken as that of {usual.name}: --host or --ram-bandwidth says it."
    if target.host_memory_bytes is None:
        note += " Its memory is not known: --ram says it."
    return replace(target, host=usual, notes=(*target.notes, note))


def precisions_of(resolved: Resolved, work: WorkAsked, device: Device) -> tuple[str, ...]:
    """The precisions to estimate: as asked, `all` that the engine has, or what the model is stored in and the usual.

    Where nobody asked for a precision, those that no engine runs on the device are left out. Raises UnknownEngine where
    none is left.
    """
    from sizer.engine.engines import find_engine, nothing_runs_on, running_engines
    from sizer.model.read.name_quantization import as_many_bits, unsized, unsized_error
    from sizer.precision.configured import configured_precision
    from sizer.precision.names import all_precisions, precision_of

    engine = None if work.engine is None else find_engine(work.engine)
    if any(name.lower() == "all" for name in work.precisions):
        names = all_precisions() if engine is None else engine.precisions()
        running = tuple(name for name in names if engine is not None or running_engines(name, device))
        if not running:
            raise nothing_runs_on(device)
        return running
    if work.precisions:
        return work.precisions
    if resolved.stored is not None:
        return (resolved.stored.precision,)
    # A copy's name tells its precision (`X-GGUF:Q4_K_M`, `X-GPTQ`) where the config found is the base model's.
    own = configured_precision(resolved.architecture) or resolved.hints.quantization
    if resolved.hints.quantization and precision_of(resolved.hints.quantization).is_gguf:
        own = resolved.hints.quantization
    own = own or as_many_bits(resolved.hints.notes)
    if flagged := _flagged(work, own or ""):
        return (flagged,)
    if own is None and (scheme := unsized(resolved.hints.notes)):
        raise unsized_error(resolved.text, scheme, "-p bf16 takes the model itself.")
    if own is None and engine is None and (held := _of_its_format(resolved, device)):
        return held
    usual = _usual_on(device) if engine is None else _usual_of(engine, resolved.architecture, device, work.flags)
    if not own and not usual:
        raise nothing_runs_on(device)
    return tuple(dict.fromkeys(((own,) if own else ()) + usual))


def _flagged(work: WorkAsked, own: str) -> str:
    """The precision that the engine's flags choose for files of `own`; empty where none of them speaks of it."""
    if work.flags is None or not work.flags.given:
        return ""
    from sizer.advise.launched import flagged_precision

    return flagged_precision(work.flags, own)


def _of_its_format(resolved: Resolved, device: Device) -> tuple[str, ...]:
    """What a repository can hold whose name tells a format without its bits (`X-GGUF`, `X-exl3`); empty for others."""
    import re

    from sizer.methods import methods

    words = re.split(r"[^a-z0-9]+", resolved.text.lower())
    method = next((found for word in words if (found := methods().get(word)) is not None), None)
    if method is None or not resolved.architecture.layers:
        return ()
    from sizer.engine.ladders import ladders
    from sizer.errors import UnknownEngine
    from sizer.precision.names import precision_of

    try:
        rungs = ladders(resolved.architecture, device, method.engines[0])
    except UnknownEngine:
        return ()
    names = dict.fromkeys(rung.precision for ladder in rungs for rung in ladder)
    return tuple(name for name in names if precision_of(name).kind == method.name)


def _usual_on(device: Device) -> tuple[str, ...]:
    """The usual precisions that something runs on a device: those of engines that people choose, where one has any.
    Where nothing runs those, as on an NPU, all that something runs there."""
    from sizer.engine.engines import running_engines
    from sizer.precision.names import all_precisions

    running = {name: running_engines(name, device) for name in DEFAULT_PRECISIONS}

    def told(chosen: bool) -> tuple[str, ...]:
        return tuple(
            name
            for name, found in running.items()
            if any(not (chosen and engine.no_ladder) and engine.has_kernels(name, device) for engine in found)
        )

    return told(chosen=True) or told(chosen=False) or tuple(p for p in all_precisions() if running_engines(p, device))


def _usual_of(
    engine: Engine, architecture: Architecture, device: Device, flags: EngineOptions | None
) -> tuple[str, ...]:
    """The usual precisions that an engine runs; those of its ladder where it has formats of its own."""
    from sizer.engine.first_versions import too_old_for
    from sizer.engine.ladders import ladders
    from sizer.engine.precisions import loads_experts
    from sizer.errors import UnknownEngine

    version = flags.version if flags is not None else ""
    usual = tuple(
        name
        for name in DEFAULT_PRECISIONS
        if engine.runs(name) and engine.has_kernels(name, device) and loads_experts(architecture, name, engine.name)
        and not too_old_for(name, engine.name, version)
    )  # fmt: skip
    if not set(usual) <= set(SIXTEEN_BIT):
        return usual
    try:
        rungs = ladders(architecture, device, engine.name, flags)
    except UnknownEngine:
        return usual or DEFAULT_PRECISIONS
    return (*usual, *(rung.precision for ladder in rungs for rung in ladder))


def estimates(resolved: Resolved, target: Target, work: WorkAsked) -> Iterator[Estimate]:
    """One estimate a precision of one model on one target."""
    from sizer.answer.drafts import draft_named
    from sizer.answer.estimate import estimate as estimate_one
    from sizer.answer.question import Question
    from sizer.device.records import is_cpu

    workload = work.workload()
    if work.flags is not None:
        from sizer.engine.flagged_devices import with_ranks

        target = with_ranks(target, work.flags)
    layers = resolved.architecture.num_layers
    on_host = workload.gpu_layers is not None and workload.gpu_layers < layers
    on_host = on_host or (work.flags is not None and work.flags.uses_host)
    if on_host and target.host is None and not is_cpu(target.device):
        target = with_usual_host(target)
    precisions = precisions_of(resolved, work, target.device)
    target = _left_out_noted(target, precisions, work)
    for precision in precisions:
        stored = resolved.stored if resolved.stored and resolved.stored.precision == precision else None
        yield estimate_one(
            Question(
                architecture=resolved.architecture,
                target=target,
                precision=precision,
                workload=workload,
                engine=work.engine,
                stored=stored,
                context_max=work.context_tokens == "max",
                drafting=work.drafting,
                options=work.flags,
                draft=draft_named(work.flags),
            )
        )


def _left_out_noted(target: Target, precisions: Sequence[str], work: WorkAsked) -> Target:
    """The target with a note on the usual precisions that are left out because nobody said whose device it is."""
    left = [name for name in DEFAULT_PRECISIONS if name not in precisions]
    if target.device.vendor or work.precisions or work.engine is not None or len(left) == len(DEFAULT_PRECISIONS):
        return target
    note = f"{', '.join(left)} left out: their engines run on some makers' devices alone; --device names one."
    return replace(target, notes=(*target.notes, note)) if left else target


def drafting_of(draft: str | None, draft_tokens: int, acceptance: float | None, *, offline: bool) -> Drafting | None:
    """The drafter and how it is used, where one is asked for: a model, or a method by its name (`mtp`, `eagle` …).

    Raises UsageError for a number out of bounds, and the errors of a model's name.
    """
    check_text("draft", draft)
    check_number("draft-tokens", draft_tokens, 1, MOST_DRAFTED, whole=True)
    check_number("acceptance", acceptance, 0, 1)
    if draft is None:
        return None
    from sizer.advise.draft import USUAL_ACCEPTANCE
    from sizer.answer.question import Drafting
    from sizer.model.read.resolve import resolve
    from sizer.speed.speculative import draft_methods

    drafter = draft_methods().get(draft.strip().lower()) or resolve(draft, offline=offline).architecture
    return Drafting(drafter, draft_tokens, USUAL_ACCEPTANCE if acceptance is None else acceptance)


def estimate(
    model: str,
    *,
    draft: str | None = None,
    draft_tokens: int = USUAL_DRAFTED,
    acceptance: float | None = None,
    **options: Unpack[Options],
) -> Answer:
    """Memory and speed of a model, as `sizer estimate` answers: one estimate for each device and precision.

    >>> answer = estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True)
    >>> answer.model.total_params
    8190735360
    >>> answer.estimates[0].memory.fits
    True

    `draft` is a draft model or a method (`mtp`, `eagle` …) that drafts `draft_tokens` a step, each accepted with
    probability `acceptance` (None: the usual one). `options` are those of `sizer.api.asked.Options`. Raises the errors
    of `sizer.errors`, each with what to do next.
    """
    from sizer.advise.reasons import recommendation
    from sizer.answer.public import answer
    from sizer.model.read.resolve import resolve

    devices, work, offline = split_options(options)
    work = replace(work, drafting=drafting_of(draft, draft_tokens, acceptance, offline=offline))
    resolved = resolve(model, offline=offline)
    found = [item for target in targets(devices) for item in estimates(resolved, target, work)]
    return answer(found, recommendation(found))
