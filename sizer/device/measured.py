"""What the probe measured here, kept in the user's data folder: one file a machine, told apart by a fingerprint."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizer.device.machine import Machine
from sizer.frozen import dataclass
from sizer.units import GB, GIB
from sizer.user_folder import user_folder

SCHEMA_VERSION = 1
# Passes of one team differ by about this much on a quiet machine.
NEARLY_BEST = 0.97
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
# Two machines of one type differ by a few MiB of memory; a fingerprint must not.
MEMORY_STEP_BYTES = GIB


@dataclass(frozen=True, slots=True)
class StoredProbe:
    """A stored probe: its bandwidth, when it was measured (seconds since 1970), and the whole document."""

    bytes_per_s: float
    measured_at_s: float
    document: Mapping[str, Any]

    @property
    def age_s(self) -> float:
        """Seconds since it was measured."""
        return max(0.0, time.time() - self.measured_at_s)

    @property
    def age(self) -> str:
        """The age in words: `3 days ago`."""
        return in_words(self.age_s)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the probe said of its own measurement (a busy machine, short arrays)."""
        notes = self.document.get("notes")
        return tuple(str(note) for note in notes) if isinstance(notes, list) else ()

    @property
    def shown(self) -> str:
        """The bandwidth for people."""
        return f"{self.bytes_per_s / GB:.4g} GB/s"


@dataclass(frozen=True, slots=True)
class Cached:
    """What the cache holds for a machine, and what was wrong with it."""

    measurement: StoredProbe | None = None
    notes: tuple[str, ...] = ()


def in_words(age_s: float) -> str:
    """An age for people: `3 days ago`, `just now`."""
    for unit_s, word in ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute")):
        if age_s >= unit_s:
            number = int(age_s / unit_s)
            return f"{number} {word}{'s' if number > 1 else ''} ago"
    return "just now"


def fingerprint(machine: Machine) -> str:
    """The same for the same kind of machine with the same cores, memory and GPUs, another for any other."""
    import hashlib

    memory_steps = round((machine.memory_bytes or 0) / MEMORY_STEP_BYTES)
    parts = [machine.os, machine.cpu, machine.sockets, machine.usable_cores, memory_steps, machine.mem_mts]
    text = json.dumps([*parts, [gpu.name for gpu in machine.gpus]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder() -> Path:
    """Where measurements are kept: the user's data folder of this system."""
    return Path(user_folder())


def path(machine: Machine) -> Path:
    """The file of one machine."""
    return folder() / f"probe-{fingerprint(machine)}.json"


def load(machine: Machine) -> Cached:
    """The stored probe of this machine; one that cannot be read or trusted is left aside with a note."""
    file = path(machine)
    try:
        document = json.loads(file.read_bytes())
        rate, measured_at_s = document["memory_bandwidth_bytes_per_s"], document["measured_at_s"]
        trusted = document["schema_version"] == SCHEMA_VERSION and is_positive(rate) and is_positive(measured_at_s)
    except FileNotFoundError:
        return Cached()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        trusted = False
    if not trusted:
        return Cached(
            notes=(f"the stored probe {str(file)!r} is damaged and not used; 'sizer probe --fresh' renews it",)
        )
    return Cached(StoredProbe(float(rate), float(measured_at_s), document))


def best_threads(document: Mapping[str, Any]) -> int | None:
    """The fewest threads that reach the bandwidth which the probe found, within 3 %: more of them only wait.

    None for a document without such rates. Where a processor has fast and slow cores, this is the set to compute with.
    """
    rates = document.get("kernels")
    told = [
        (rate["threads"], rate["bytes_per_s"])
        for rate in (rates if isinstance(rates, list) else ())
        if isinstance(rate, dict) and is_positive(rate.get("threads")) and is_positive(rate.get("bytes_per_s"))
    ]
    best = max((rate for _, rate in told), default=0.0)
    return min((int(threads) for threads, rate in told if rate >= NEARLY_BEST * best), default=None)


def is_positive(value: object) -> bool:
    """A finite number above zero."""
    return type(value) in {int, float} and math.isfinite(float(str(value))) and float(str(value)) > 0


def save(machine: Machine, document: Mapping[str, Any]) -> Path:
    """Store a probe whole or not at all. Raises OSError."""
    return write(path(machine), {"schema_version": SCHEMA_VERSION, **document})


def write(file: Path, document: Mapping[str, Any]) -> Path:
    """Write a document beside the old one, then put it in its place. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file
