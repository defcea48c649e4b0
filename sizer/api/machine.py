"""This machine: what it is, and what was measured of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sizer.device.machine import Machine
    from sizer.device.records import Target

Say = Callable[[str], None]


def probe(*, fresh: bool = False, flops: bool = False, seconds: float = 4.0, backend: str = "") -> dict[str, Any]:
    """What this machine is and its measured memory bandwidth, as `sizer probe --json` answers.

    Measured once and stored; `fresh` measures again, `flops` measures arithmetic too.
    """
    from sizer.device.detect import detect, this_target

    machine = detect()
    document = probed(machine, fresh=fresh, flops=flops, seconds=seconds, backend=backend)
    return told(machine, this_target(machine=machine), document)


def told(machine: Machine, target: Target, document: dict[str, Any]) -> dict[str, Any]:
    """A machine and its probe as one document: each fact with its source, what is not known, what does not add up."""
    from sizer.device.known import knowledge

    known = knowledge(machine, target, document)
    return {
        "schema_version": 1,
        "machine": described(machine, target),
        "facts": [fact._asdict() for fact in known.facts],
        "unknown": [unknown._asdict() for unknown in known.unknown],
        "doubts": list(machine.doubts),
        "table_line": known.table_line,
        **document,
    }


def report() -> str:
    """This machine as its tools print it, without host and user names, serial numbers and UUIDs: for a bug report."""
    from sizer.device.detect import detect, this_target
    from sizer.device.edge import Edge
    from sizer.device.recorded import Recorder, personal_names, written
    from sizer.units import GB, GIB

    edge, recorder = Edge(), Recorder()
    machine = detect(recorder.listen(edge))
    device = this_target(machine=machine).device
    rate, size = device.bandwidth_bytes_per_s, device.memory_bytes
    expect = {
        "device": device.key,
        "kind": device.kind,
        "memory_gib": round(size / GIB, 2) if size else None,
        "bandwidth_gbs": round(rate / GB, 1) if rate else None,
    }
    about = f"{machine.os}, {machine.cpu}, by sizer probe --report"
    return written(recorder, edge, expect, about, personal_names(edge.environment))


def probed(
    machine: Machine, *, fresh: bool, flops: bool, seconds: float, backend: str, say: Say | None = None
) -> dict[str, Any]:
    """The stored probe, or a new one, which is stored; with its age."""
    from sizer.device import measured
    from sizer.device import probe as prober

    cached = measured.load(machine)
    known = cached.measurement
    if known and not fresh and not backend and (not flops or known.document.get("flops")):
        return {**known.document, "cached": True, "age_s": known.age_s}
    if say is not None:
        say(f"measuring memory bandwidth for about {seconds:g} s ...")
    document = prober.run(machine, flops=flops, seconds=seconds, backend=backend).document()
    notes = [*document["notes"], *([] if fresh else cached.notes)]
    try:
        measured.save(machine, document)
    except OSError as error:
        notes.append(f"the measurement could not be stored: {error.strerror or error}")
    return {**document, "notes": notes, "cached": False, "age_s": 0.0}


def described(machine: Machine, target: Target) -> dict[str, Any]:
    """The machine for JSON, with the key of the device that an estimate takes for it."""
    from dataclasses import asdict

    return {"device": target.device.key, "device_count": target.count, **asdict(machine)}
