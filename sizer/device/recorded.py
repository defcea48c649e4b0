"""A machine as its tools print it, without what is personal: for a bug report, and as a test of it afterwards.

The text is one of those in `tests/data/machines`: sections that begin with `@`, each a file, a command's answer, a key
of the registry or NVML's cards, as detection asked for them, and last what detection made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sizer.device.edge import Edge, Subkeys
from sizer.device.visible import VARIABLES

REMOVED = "removed"
# Names that tell nobody apart, and would be found in the middle of what matters.
COMMON_NAMES = frozenset({"root", "user", "admin", "administrator", "localhost", "ubuntu", "pi", "host", "runner"})
HEARD = ("ANDROID_ROOT", "PREFIX", *(name for names in VARIABLES.values() for name in names))
NVML_FACTS = {
    "name": "nvmlDeviceGetName",
    "bus": "nvmlDeviceGetMemoryBusWidth",
    "capability": "nvmlDeviceGetCudaComputeCapability",
    "generation": "nvmlDeviceGetMaxPcieLinkGeneration",
    "lanes": "nvmlDeviceGetCurrPcieLinkWidth",
    "cores": "nvmlDeviceGetNumGpuCores",
}
LONGEST_FILE = 20_000
"""Characters kept of a file that a recording reads, /proc/cpuinfo apart."""
# The registry's class of display adapters is everybody's.
_UUID = re.compile(r"\b(GPU-|MIG-)?(?!4d36e968-e325-)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_SERIAL = re.compile(r"""((?:[\w-]*serial[\w -]*)["']?\s*[:=]\s*["']?)([^"',\n}]+)""", re.IGNORECASE)
_HARDWARE_ADDRESS = re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)
_DIGEST = re.compile(r"\b[0-9a-f]{32,128}\b", re.IGNORECASE)
_HOME = re.compile(r"(/home/|/Users/)[^/\s\"']+|([A-Z]:\\+Users\\+)[^\\\n\"']+", re.IGNORECASE)


@dataclass
class Recorder:
    """Everything that was asked of an edge, by kind."""

    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    registry: dict[str, Subkeys] = field(default_factory=dict)
    nvml: list[dict[str, Any]] | None = None
    memory: tuple[int | None, int | None] = (None, None)
    processors: tuple[int | None, int | None] = (None, None)

    def listen(self, edge: Edge) -> Edge:
        """The edge, with all that is asked of it kept here."""

        def run(command: list[str]) -> str:
            return self.commands.setdefault(" ".join(command), edge.run(command))

        def registry(key: str) -> Subkeys:
            return self.registry.setdefault(key, edge.registry(key))

        def nvml() -> Any | None:
            library = edge.nvml()
            self.nvml = _cards(library) if library is not None else None
            return library

        def memory() -> tuple[int | None, int | None]:
            self.memory = edge.memory()
            return self.memory

        def processors() -> tuple[int | None, int | None]:
            self.processors = edge.processors()
            return self.processors

        heard = _Listening(edge, self)
        return replace(
            edge,
            run=run,
            registry=registry,
            nvml=nvml,
            memory=memory,
            processors=processors,
            read_file=heard.read,
            is_there=heard.is_there,
        )


class _Listening:
    def __init__(self, edge: Edge, recorder: Recorder) -> None:
        self.edge, self.recorder = edge, recorder

    def read(self, path: Path) -> str:
        text = self.edge.read_file(path)
        name = "/" + path.relative_to(self.edge.root).as_posix()
        if text or path.is_file():
            self.recorder.files[name] = text if len(text) <= LONGEST_FILE else _shortened(text)
        return text

    def is_there(self, path: Path) -> bool:
        there = self.edge.is_there(path)
        if there and not path.is_dir():
            self.recorder.files.setdefault("/" + path.relative_to(self.edge.root).as_posix(), "")
        return there


def _shortened(text: str) -> str:
    """The first processors of a long /proc/cpuinfo would miscount the cores: of others the beginning says enough."""
    return text if text.startswith("processor") else text[:LONGEST_FILE]


def _cards(nvml: Any) -> list[dict[str, Any]]:
    """What NVML says of each card, in the words of the recorded machines."""
    cards = []
    for number in range(_ask(nvml.nvmlDeviceGetCount) or 0):
        handle = _ask(nvml.nvmlDeviceGetHandleByIndex, number)
        card = _card(nvml, handle)
        mode = _ask(nvml.nvmlDeviceGetMigMode, handle)
        if mode and mode[0]:
            count = _ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
            slices = (_ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place) for place in range(count))
            card["mig"] = [_card(nvml, one) for one in slices if one is not None]
        cards.append({**card, "uuid": f"GPU-{number}"})
    return cards


def _card(nvml: Any, handle: Any) -> dict[str, Any]:
    told = {name: _ask(getattr(nvml, question), handle) for name, question in NVML_FACTS.items()}
    memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    told["mib"] = int(memory.total) // 2**20 if memory else None
    told["clock"] = _ask(nvml.nvmlDeviceGetMaxClockInfo, handle, getattr(nvml, "NVML_CLOCK_MEM", 2))
    decoded = {name: value.decode() if isinstance(value, bytes) else value for name, value in told.items()}
    return {name: value for name, value in decoded.items() if value is not None}


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """One question to NVML, None where it raises (its own tree, or the binding lacks it)."""
    try:
        return question(*arguments)
    except Exception:
        return None


def written(recorder: Recorder, edge: Edge, expect: Mapping[str, Any], about: str, names: Iterable[str]) -> str:
    """The record as text, without `names` (of the host and the user), serial numbers, UUIDs and addresses."""
    sections = [f"@ about {about}", f"@ system {edge.system}", f"@ architecture {edge.architecture}"]
    sections.append(f"@ memory {recorder.memory[0]} {recorder.memory[1]}")
    sections.append(f"@ processors {recorder.processors[0]} {recorder.processors[1]}")
    heard = ((name, edge.environment.get(name)) for name in HEARD)
    sections += [f"@ environment {name}={value}" for name, value in heard if value is not None]
    sections += [f"@ file {path}\n{text}" for path, text in sorted(recorder.files.items())]
    sections += [f"@ command {words}\n{text.rstrip()}" for words, text in recorder.commands.items() if text]
    sections += [f"@ registry {key}\n{json.dumps(_plain(told))}" for key, told in recorder.registry.items() if told]
    sections += [f"@ nvml\n{json.dumps(recorder.nvml)}"] if recorder.nvml is not None else []
    sections.append(f"@ expect\n{json.dumps(dict(expect))}")
    return without_what_is_personal("\n".join(sections), names) + "\n"


def _plain(subkeys: Subkeys) -> dict[str, dict[str, object]]:
    """The registry's values that detection looks at, bytes as `hex:00ff`."""
    kept = ("Driver", "HardwareInformation", "MatchingDeviceId", "ProviderName", "Processor", "Identifier", "Vendor")
    return {
        name: {
            key: f"hex:{value.hex()}" if isinstance(value, bytes) else value
            for key, value in values.items()
            if key.startswith(kept) and isinstance(value, bytes | int | str)
        }
        for name, values in subkeys.items()
    }


def without_what_is_personal(text: str, names: Iterable[str]) -> str:
    """The text without the names given, home folders, serial numbers, UUIDs, hardware addresses and digests."""
    text = _UUID.sub(lambda match: f"{match[1] or ''}00000000-0000-0000-0000-000000000000", text)
    text = _SERIAL.sub(rf"\1{REMOVED}", text)
    text = _HARDWARE_ADDRESS.sub("00:00:00:00:00:00", text)
    text = _DIGEST.sub(REMOVED, text)
    text = _HOME.sub(lambda match: f"{match[1] or match[2]}{REMOVED}", text)
    for name in _whole(names):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", REMOVED, text, flags=re.IGNORECASE)
    return text


def _whole(names: Iterable[str]) -> Iterator[str]:
    """The names worth removing, the longest first; a host's name also without its domain."""
    found = {part for name in names for part in (name, name.partition(".")[0]) if len(part) > 2}
    yield from sorted((name for name in found if name.casefold() not in COMMON_NAMES), key=len, reverse=True)


def personal_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What this machine and its user are called."""
    import platform

    told = (
        environment.get(name, "") for name in ("USER", "USERNAME", "LOGNAME", "COMPUTERNAME", "HOSTNAME", "USERDOMAIN")
    )
    return tuple(name for name in (*told, platform.node()) if name)
