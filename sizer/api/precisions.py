"""Which precisions to estimate: as asked, else what a model is stored in and the usual ones that something runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizer.api.asked import WorkAsked

if TYPE_CHECKING:
    from sizer.device.records import Device
    from sizer.engine.engines import Engine
    from sizer.engine.options import EngineOptions
    from sizer.model.architecture import Architecture
    from sizer.model.read.resolve import Resolved

SIXTEEN_BIT = ("bf16", "fp16")
DEFAULT_PRECISIONS = (*SIXTEEN_BIT, "fp8", "int8", "nf4", "q8_0", "q4_k_m")
"""What a table shows when no precision is asked for: 16 bits, FP8, bitsandbytes' and the two common GGUF types."""


def precisions_of(resolved: Resolved, work: WorkAsked, device: Device) -> tuple[str, ...]:
    """The precisions to estimate: as asked, `all` that the engine has, or what the model is stored in and the usual.

    Where nobody asked for a precision, those that no engine runs on the device are left out. Raises UnknownEngine where
    none is left.
    """
    from sizer.engine.engines import find_engine, nothing_runs_on, running_engines
    from sizer.engine.ladders import quantized_again
    from sizer.model.read.name_quantization import unsized_error
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
    own = own or resolved.hints.as_many_bits
    if flagged := _flagged(work, own or ""):
        return (flagged,)
    if own is None and resolved.hints.unsized:
        raise unsized_error(resolved.text, resolved.hints.unsized, "-p bf16 takes the model itself.")
    if own is None and engine is None and (held := _of_its_format(resolved, device)):
        return held
    usual = _usual_on(device) if engine is None else _usual_of(engine, resolved.architecture, device, work.flags)
    if not own and not usual:
        raise nothing_runs_on(device)
    usual = tuple(name for name in usual if not quantized_again(resolved.architecture, name))
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
