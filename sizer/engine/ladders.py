"""Which precisions are worth considering on a device with an engine: rows of `data/ladders.csv`, best quality first."""

from __future__ import annotations

from functools import cache

from sizer.device.kinds import memory_class
from sizer.device.records import Device
from sizer.engine.engines import any_runs_on, find_engine, nothing_runs_on
from sizer.engine.model_classes import model_code, names
from sizer.engine.model_code import ModelCode
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.errors import UnknownEngine
from sizer.frozen import dataclass
from sizer.methods import methods
from sizer.model.architecture import Architecture
from sizer.precision.configured import configured_precision
from sizer.precision.identity_cache import IdentityCache
from sizer.precision.names import engines_of, precision_of
from sizer.tables import read_rows

CONFIGURED_AS_GGUF = {"mxfp4": "mxfp4_moe"}
"""A model published in a 4-bit format of its own is converted to GGUF in that very format."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One engine and precision to consider."""

    engine: str
    precision: str


_LADDERS: IdentityCache[Device, list[list[Rung]]] = IdentityCache(16)


@cache
def _ladders() -> tuple[dict[str, str], ...]:
    return tuple(read_rows("ladders.csv"))


def _matches(row: dict[str, str], device: Device) -> bool:
    """Whether a row is for a device: its kind, vendor, memory, key, and the matrix units that an engine needs."""
    wanted = (row["kind"], row["vendor"])
    has = (device.kind, device.vendor)
    if any(want not in {"", got} for want, got in zip(wanted, has, strict=True)):
        return False
    if find_engine(row["engine"]).backend(device) is None:
        return False
    if row["devices"] and device.key not in row["devices"].split():
        return False
    if row["peak"] and device.peak_flops_per_s and row["peak"] not in device.peak_flops_per_s:
        return False
    return row["memory"] in {"", memory_class(device)}


def runs_fast(precision: str, engine: str, device: Device) -> bool:
    """Whether a precision runs on the device with the matrix units that the engine wants; unknown ones pass."""
    found = find_engine(engine)
    peaks = {peak for peak, _ in found.needs(precision) if peak}
    has_units = not device.peak_flops_per_s or peaks <= device.peak_flops_per_s.keys()
    return has_units and found.has_kernels(precision, device)


def quantized_again(architecture: Architecture, precision: str) -> bool:
    """Whether a precision is made in loading of what is stored in fewer bits already: no engine does that."""
    own = configured_precision(architecture)
    return own not in {None, precision} and methods()[precision_of(precision).kind].made_at_load


def own_precision(architecture: Architecture, engine: str) -> str | None:
    """The precision that a quantized checkpoint is published in, as the engine runs it; None where it does not."""
    own = configured_precision(architecture)
    if own is None:
        return None
    if engine not in engines_of(own):
        own = CONFIGURED_AS_GGUF.get(own, own)
    return own if engine in engines_of(own) else None


def ladders(
    architecture: Architecture, device: Device, engine: str | None = None, options: EngineOptions | None = None
) -> list[list[Rung]]:
    """The ladders for a model on a device: with the engine asked for, else with those that people run there, the usual
    one first; where none of these is known to have code for the model, with the first other whose list names it, or
    that has none. A ladder's rungs are in rising order of loss. `options` are an engine's version and flags: of an
    older one only what it has code for.

    The checkpoint's own quantization comes first where the engine runs it. Raises UnknownEngine without a ladder.
    """
    told = options or NO_OPTIONS
    key = (architecture, engine, told.engine, told.version, told.given)
    return _LADDERS.get(device, key, lambda: _ladders_of(architecture, device, engine, told))


def _ladders_of(
    architecture: Architecture, device: Device, engine: str | None, told: EngineOptions
) -> list[list[Rung]]:
    """See `ladders`."""
    name = find_engine(engine).name if engine else None
    every = [row for row in _ladders() if _matches(row, device)]
    loading = [row for row in every if not _code(architecture, row["engine"], told).lacking]
    if name is not None:
        found = _all_rungs([row for row in loading if row["engine"] == name], architecture, device, told)
        if found:
            return found
    certain = [row for row in loading if not model_code(architecture, row["engine"]).unknown]
    if name is None:
        usual = _all_rungs([row for row in certain if row["default"] == "yes"], architecture, device, told)
        if usual:
            return usual
    known = _all_rungs(certain, architecture, device, told)
    if name is None:
        named = [rungs for rungs in known if names(architecture, rungs[0].engine)]
        found = (named or known or _all_rungs(loading, architecture, device, told))[:1]
        if found:
            return found
        if not any_runs_on(device):
            raise nothing_runs_on(device)
    asked = f"no precisions are listed for {engine!r} on" if engine else "nothing is listed for"
    listed = any(row["engine"] == name for row in every)
    lacking = _code(architecture, name, told).lacking if name is not None and listed else ""
    others = dict.fromkeys(rungs[0].engine for rungs in known)
    hint = f"There are for {', '.join(others)}." if others else "'sizer estimate' takes it with --engine."
    raise UnknownEngine(lacking or f"{asked} {device.name}.", hint)


def _code(architecture: Architecture, engine: str, told: EngineOptions) -> ModelCode:
    """Whether an engine has code for a model, at the version and with the flags that it was told."""
    return model_code(architecture, engine, _own(engine, told))


def _own(engine: str, told: EngineOptions) -> EngineOptions:
    """What was told, where it is of this engine."""
    return told if told.engine == engine else NO_OPTIONS


def _all_rungs(
    rows: list[dict[str, str]], architecture: Architecture, device: Device, told: EngineOptions
) -> list[list[Rung]]:
    """The ladders of rows that have rungs on the device."""
    return [rungs for rungs in (_rungs(row, architecture, device, told) for row in rows) if rungs]


def _rungs(row: dict[str, str], architecture: Architecture, device: Device, told: EngineOptions) -> list[Rung]:
    """The row's precisions that the device and the version run; of `bf16|fp16` the first with matrix units for it."""
    precisions = []
    for wanted in row["precisions"].split():
        running = [name for name in wanted.split("|") if runs_fast(name, row["engine"], device)]
        precisions += [name for name in running[:1] if not quantized_again(architecture, name)]
    own = own_precision(architecture, row["engine"])
    if own and find_engine(row["engine"]).has_kernels(own, device):
        precisions = [own, *(precision for precision in precisions if precision != own)]
    engine, version = row["engine"], _own(row["engine"], told).version
    return [Rung(engine, precision) for precision in precisions if not _too_old(precision, engine, version)]


def _too_old(precision: str, engine: str, version: str) -> bool:
    """Whether a version that is named does not load a precision yet; what came when is read for a named one alone."""
    if not version:
        return False
    from sizer.engine.first_versions import too_old_for

    return bool(too_old_for(precision, engine, version))
