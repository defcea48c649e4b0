"""Recorded-style machines: one text file each in `tests/data/machines`, which becomes the edge that detection looks at.

A section begins with `@`: `system`, `architecture`, `memory TOTAL FREE`, `processors CORES THREADS`, `environment
NAME=VALUE`, `link PATH -> PATH`; and, with the lines below them, `file PATH`, `command WORDS` (the longest that the
command begins with answers), `registry KEY` (JSON), `nvml` (JSON, a card each) and `expect` (JSON, what is right).
`hex:00ff` in a registry value is REG_BINARY.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sizer.device.edge import Edge
from sizer.units import MIB

FOLDER = Path(__file__).parents[1] / "data" / "machines"
ONE_LINE = frozenset({"about", "system", "architecture", "memory", "processors", "environment", "link"})


@dataclass
class Recorded:
    """One machine as recorded, and what is right about it."""

    name: str
    about: str = ""
    system: str = "Linux"
    architecture: str = "x86_64"
    memory: tuple[int | None, int | None] = (None, None)
    processors: tuple[int | None, int | None] = (None, None)
    environment: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    registry: dict[str, Any] = field(default_factory=dict)
    nvml: list[dict[str, Any]] | None = None
    expect: dict[str, Any] = field(default_factory=dict)

    def edge(self, root: Path) -> Edge:
        """The machine laid out under a root, as the record that detection takes."""
        for name, text in self.files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for name, aim in self.links.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(root / aim.lstrip("/"), target_is_directory=True)
        return Edge(
            root=root,
            system=self.system,
            run=answered(self.commands),
            nvml=lambda: None if self.nvml is None else FakeNvml(*self.nvml),
            environment=self.environment,
            registry=lambda key: self.registry.get(key, {}),
            memory=lambda: self.memory,
            processors=lambda: self.processors,
            architecture=self.architecture,
        )


def answered(answers: Mapping[str, str]) -> Callable[[list[str]], str]:
    """A runner that answers by the longest text that the command begins with, and with nothing where none does."""

    def run(command: list[str]) -> str:
        asked = " ".join(command)
        known = [start for start in answers if asked.startswith(start)]
        return answers[max(known, key=len)] if known else ""

    return run


def names() -> list[str]:
    """The names of all recorded machines."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def read(name: str) -> Recorded:
    """One recorded machine."""
    return parse(name, (FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Recorded:
    """A machine of the text of a file, or of what `sizer probe --report` printed."""
    machine = Recorded(name)
    for section in text.removeprefix("@ ").split("\n@ "):
        head, _, body = section.partition("\n")
        kind, _, rest = head.partition(" ")
        if kind == "nvml":
            machine.nvml = json.loads(body)
        elif kind == "expect":
            machine.expect = json.loads(body)
        elif kind == "registry":
            machine.registry[rest] = _values(json.loads(body))
        elif kind == "file":
            machine.files[rest] = body
        elif kind == "command":
            machine.commands[rest] = body
        elif kind == "environment":
            variable, _, value = rest.partition("=")
            machine.environment[variable] = value
        elif kind == "link":
            path, _, aim = rest.partition(" -> ")
            machine.links[path] = aim
        elif kind in {"memory", "processors"}:
            first, second = (int(word) if word.isdecimal() else None for word in rest.split())
            setattr(machine, kind, (first, second))
        else:
            assert kind in ONE_LINE, f"{name}: {kind!r} is no section"
            setattr(machine, kind, rest)
    return machine


def _values(subkeys: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    def value(told: Any) -> Any:
        is_bytes = isinstance(told, str) and told.startswith("hex:")
        return bytes.fromhex(told.removeprefix("hex:")) if is_bytes else told

    return {name: {key: value(told) for key, told in values.items()} for name, values in subkeys.items()}


class FakeNvml:
    """NVML with the given cards; anything a card does not have raises, as the library does."""

    NVML_CLOCK_MEM = 2

    def __init__(self, *cards: dict[str, Any]) -> None:
        self.cards = cards

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Number of cards."""
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, number: int) -> dict[str, Any]:  # noqa: N802
        """A card is its own handle."""
        return self.cards[number]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: N802
        """One MIG instance."""
        return card["mig"][number]  # type: ignore[no-any-return]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: dict[str, Any]) -> int:  # noqa: N802
        """How many instances there may be: more than there are."""
        return len(card["mig"]) + 2

    def nvmlDeviceGetMigMode(self, card: dict[str, Any]) -> list[int]:  # noqa: N802
        """Current and pending mode."""
        return [int("mig" in card), 0]

    def nvmlDeviceGetMaxClockInfo(self, card: dict[str, Any], kind: int) -> int:  # noqa: N802
        """Memory clock in MHz."""
        assert kind == self.NVML_CLOCK_MEM
        return card["clock"]  # type: ignore[no-any-return]

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        """Old bindings answer in bytes."""
        return b"570.00"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers = {
            "nvmlDeviceGetName": "name",
            "nvmlDeviceGetUUID": "uuid",
            "nvmlDeviceGetMemoryBusWidth": "bus",
            "nvmlDeviceGetCudaComputeCapability": "capability",
            "nvmlDeviceGetMaxPcieLinkGeneration": "generation",
            "nvmlDeviceGetCurrPcieLinkWidth": "lanes",
            "nvmlDeviceGetNumGpuCores": "cores",
            "nvmlDeviceGetComputeRunningProcesses": "processes",
        }
        if name == "nvmlDeviceGetMemoryInfo":
            return lambda card: SimpleNamespace(total=card["mib"] * MIB, free=card["mib"] * MIB // 2)
        return lambda card: card[answers[name]]
