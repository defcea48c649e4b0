"""What speed looks at: one model on one target with one engine, and the groups that its constants are fitted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache, wraps
from math import inf
from typing import Any, TypeVar

from sizer.device.chip_parts import UNIFIED_KINDS, cpu_part
from sizer.device.kinds import chip_of, device_family, generation, generation_number, instructions, memory_class
from sizer.device.records import Device, Target, is_cpu
from sizer.engine.engines import Engine, find_engine
from sizer.engine.kernel_facts import KernelFacts, kernel_facts
from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple, dataclass
from sizer.memory.case import Case, kept_beside_window
from sizer.memory.prompt_chunk import prompt_chunk_tokens
from sizer.memory.records import Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.speed.kernels import build_of, core_kernel, precision_class
from sizer.workload import Split, Workload

EAGER = "eager"
"""The code of layers whose operations the host launches one by one (`data/layer_operations.csv`)."""
FIRST_YEAR, LATEST_YEAR = 2023, 2026
"""Years that constants are told apart by: rows are of these."""
HALF_YEARS = ("2024-01", "2024-07", "2025-01", "2025-07", "2026-01", "2026-07")
"""Half-years that a runtime's constants may step at, from the first that rows stand on both sides of. An engine of one
has the steps of those before it too: what is not measured is told by the half-year before, not by the mean of all."""
SINCE = tuple(f"since {start}" for start in HALF_YEARS)


HOSTS = tuple(f"hosts {one}" for one in range(1, 5))
"""Generations of cards (`generation`) that the constants of engines whose host launches each operation may step at:
newer cards sit in newer hosts. A card of a generation that nobody measured is told by the one before it."""


class PromptReading(NamedTuple):
    """How an engine reads a prompt, as its flags and its memory say.

    `chunk_tokens` run at once (None: the engine's default); `scores` is whether attention writes its scores to memory,
    as it does without flash attention. From `streams_from_tokens` tokens a pass on the device multiplies by what lies
    on the host; fewer the host multiplies itself. A layer with a window keeps `beside_window` tokens beside it once a
    prompt is read, which each step weighs and masks; none where steps read the window alone.
    """

    chunk_tokens: int | None = None
    scores: bool = False
    streams_from_tokens: float = 1
    beside_window: float = 0


USUAL_READING = PromptReading()


def prompt_reading(case: Case) -> PromptReading:
    """What a case of memory says of it."""
    return PromptReading(
        prompt_chunk_tokens(case), case.writes_scores, case.streams_from_tokens, kept_beside_window(case)
    )


@dataclass(frozen=True)
class SpeedCase:
    """One question to the law of speed.

    `backend` is the engine's on the device unless the asker names another that it has there; `built` is when the engine
    was (an ISO date or the start of one; empty: now); `graphs` is whether its flags let it capture steps (None: they
    do not say).
    """

    architecture: Architecture
    stored: Stored
    target: Target
    workload: Workload
    engine: Engine
    backend: str
    engine_version: str = ""
    built: str = ""
    placement: Placement | None = None
    graphs: bool | None = None
    reading: PromptReading = USUAL_READING

    @property
    def device(self) -> Device:
        """The first device."""
        return self.target.device

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """All devices, equal ones repeated, unlike ones after them."""
        return (self.target.device,) * self.target.count + self.target.others

    @property
    def kernels(self) -> KernelFacts:
        """How the runtime's kernels on the backend are made, in a build of that version or date."""
        return kernel_facts(self.engine.runtime, self.backend, self.device.vendor, self.runtime_version, self.built)

    @property
    def runtime_version(self) -> str:
        """The version of the runtime, where that is the engine: another engine's says nothing of its runtime's."""
        return self.engine_version if self.engine.name == self.engine.runtime else ""

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """Group names by level, from the widest (`runtime`) to the narrowest (`engine device`)."""
        return _groups(self)

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Who may own constants of a term, the first first: CPUs, the engine's runtime, the class of memory."""
        return (*(("cpu",) if is_cpu(self.device) else ()), self.engine.runtime, memory_class(self.device))

    def of_workload(self, workload: Workload) -> SpeedCase:
        """The same asked of another workload."""
        if workload == self.workload:
            return self
        made, own = replace(self, workload=workload), self.workload
        vars(made).update(devices=self.devices, owners=self.owners)
        if (workload.parallelism, workload.threads) == (own.parallelism, own.threads):
            vars(made)["standing"] = self.standing
        return made

    def of_sequences(self, sequences: int) -> SpeedCase:
        """The same asked of so many sequences; one record a number, which orders of batches ask for again and again."""
        known = self._by_sequences
        if sequences not in known:
            made = known[sequences] = self.of_workload(replace(self.workload, batch_size=sequences))
            # What no number of sequences moves is worked out once for all of them.
            vars(made).update(_by_sequences=known, groups=self.groups)
        return known[sequences]

    @cached_property
    def _by_sequences(self) -> dict[int, SpeedCase]:
        return {self.workload.batch_size: self}

    @cached_property
    def standing(self) -> dict[Callable[..., object], Any]:
        """What was worked out of the case, and holds whatever its tokens and sequences are: see `standing`."""
        return {}

    @cached_property
    def kept(self) -> dict[tuple[object, ...], Any]:
        """What was worked out of this very record, by what it is."""
        return {}


Found = TypeVar("Found")


def standing(work: Callable[[SpeedCase], Found]) -> Callable[[SpeedCase], Found]:
    """Marks a function of a case that neither its tokens nor its sequences move: worked out once for all of them."""

    @wraps(work)
    def once(case: SpeedCase) -> Found:
        known = case.standing
        if work not in known:
            known[work] = work(case)
        found: Found = known[work]
        return found

    return once


def speed_case(
    architecture: Architecture,
    stored: Stored,
    target: Target,
    workload: Workload,
    engine: str,
    *,
    backend: str | None = None,
    engine_version: str | None = None,
    placement: Placement | None = None,
    graphs: bool | None = None,
    reading: PromptReading = USUAL_READING,
) -> SpeedCase:
    """The case of these records. Raises UnknownEngine, UsageError for a backend that the engine has not got."""
    found = find_engine(engine)
    asked = found.backend_asked(backend or "", target.device)
    if found.leaves_gpu(target.device) or (asked == "cpu" and target.device.kind in UNIFIED_KINDS):
        target = replace(target, device=cpu_part(target.device))
    elif asked and "cpu" in asked and not is_cpu(target.device) and asked not in found.backends_on(target.device):
        asked = found.backend(target.device)  # `cpu` and `cpu+cuda` of a card's row name the place of some layers
    return SpeedCase(
        architecture, stored, target, workload, found, asked or "unknown", engine_version or "", placement=placement,
        graphs=graphs, reading=reading,
    )  # fmt: skip


def _groups(case: SpeedCase) -> dict[str, str]:
    before, further = _groups_of_any_work(case)
    graphs = f"{case.engine.runtime} {'graphs' if in_graphs(case) else 'eager'}"
    return {**before, **_named({"graphs": graphs}), **further}


@standing
def _groups_of_any_work(case: SpeedCase) -> tuple[dict[str, str], dict[str, str]]:
    """The groups that no depth moves: those before and after that of captured graphs."""
    runtime = case.engine.runtime
    own, further = _standing_groups(case.device, case.engine, case.backend, case.stored.precision, case.engine_version)
    year = int(case.built[:4] or LATEST_YEAR)
    asked = {
        "era": f"{runtime} {min(max(year, FIRST_YEAR), LATEST_YEAR)}",
        **{f"since {start}": runtime for start in HALF_YEARS if not case.built or case.built >= start},
        "link": _link(case),
        "split": f"{runtime} {_split(case)}",
    }
    if multiplying := _of_host(case):
        asked |= {"instructions": multiplying}
    return {**own, **_named(asked)}, further


def _named(groups: Mapping[str, str]) -> dict[str, str]:
    return {level: f"{level}: {group}" for level, group in groups.items()}


@lru_cache(maxsize=4096)
def _standing_groups(
    device: Device, engine: Engine, backend: str, precision: str, version: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The groups that no workload, split or year moves: those of every case, and those of some."""
    runtime, family, kernel, bits = engine.runtime, device_family(device), *precision_class(precision)
    if kernel == "half" and is_cpu(device):
        kernel = core_kernel(runtime, precision, instructions(device.key))
    shared = kernel  # what all backends of the runtime tell of a precision
    if kernel == "half" and kernel_facts(runtime, backend).bf16_apart:
        kernel = precision
    own = {
        "engine": engine.name,
        "runtime": runtime,
        "backend": f"{runtime} {backend}",
        "family": family,
        "generation": generation(device),
        "memory": memory_class(device),
        "backend family": f"{runtime} {backend} {family}",
        "backend generation": f"{runtime} {backend} {generation(device)}",
        "kernel": kernel,
        "bits": bits,
        "runtime kernel": f"{runtime} {shared}",
        "engine kernel": f"{engine.name} {shared}",
        "backend kernel": f"{runtime} {backend} {kernel}",
        "backend family kernel": f"{runtime} {backend} {family} {kernel}",
        "device": f"{chip_of(device.key)} {backend}",
        "engine device": f"{engine.name} {backend} {device.key}",
    }
    release = _release(version)
    cores = instructions(device.key) if is_cpu(device) else ""
    build = build_of(version, backend, cores)
    further = {
        "own kernel": f"{runtime} {backend} {kernel}" if kernel != shared else "",
        "version": f"{engine.name} {release}" if release else "",
        "build kernel": f"{build} {kernel}" if build else "",
        "instructions": cores,
        **(_hosts(device) if engine.layer_operations == EAGER else {}),
    }
    return _named(own), _named({level: group for level, group in further.items() if group})


def _hosts(device: Device) -> dict[str, str]:
    """The generations of a device's family up to its own."""
    return dict.fromkeys(HOSTS[: generation_number(device)], device_family(device))


def in_graphs(case: SpeedCase) -> bool:
    """Whether a step is replayed from a captured graph: not where the engine's flags forbid it, else as
    `data/graph_capture.csv` tells of a release and a depth.

    Where no row tells of a runtime, its one way of running is all there is: called graphs.
    """
    if case.graphs is False:
        return False
    return case.workload.context_tokens <= _longest_captured(case)


@standing
def _longest_captured(case: SpeedCase) -> float:
    """The deepest cache whose steps are captured, in tokens."""
    rule = runtime_rule(case, "graph_capture.csv")
    longest = rule["longest_context"] if rule else ""
    return int(longest) if longest else inf


def runtime_rule(case: SpeedCase, table: str) -> dict[str, str] | None:
    """The row of a table that holds for the case's engine (else its runtime) and release, of those for its backend
    where the table names some; None where no row tells of it.

    Another engine's version says nothing of its runtime's: there the date decides.
    """
    told = rules(table, "runtime")
    own = told.get(case.engine.name, [])
    rows = [row for row in own or told.get(case.engine.runtime, []) if row.get("backend", case.backend) == case.backend]
    version = case.engine_version if own else ""
    return rule_in_force(rows, version, case.built) if rows else None


def _release(version: str) -> str:
    """A version up to its minor number (`0.6` of `0.6.3.post1`); empty for dates, hashes and build numbers."""
    numbers = re.match(r"v?(\d{1,2}\.\d{1,3})(?=\D|$)", version)
    return numbers[1] if numbers else ""


def _of_host(case: SpeedCase) -> str:
    """What the cores multiply with that hold a part of the weights beside a device; empty where none do, and where an
    engine brings kernels of its own for a device and its host together."""
    placement, host = case.placement, case.target.host
    beside = placement is not None and placement.host is not None and placement.host.weights_bytes > 0
    apart = is_cpu(case.device) or case.backend.startswith("cpu+")
    return instructions(host.key) if beside and host is not None and not apart else ""


def _link(case: SpeedCase) -> str:
    if len(case.devices) == 1:
        return "none"
    # A slot of PCIe 5.0 moves 64 GB/s; the slowest NVLink of the table 300 (V100).
    return "nvlink" if (case.device.interconnect_bytes_per_s or 0) > 1e11 else "pcie"


def _split(case: SpeedCase) -> str:
    count = len(case.devices)
    if count == 1:
        return "one device"
    split = case.engine.split(case.workload.parallelism)
    way = Split.LAYER if split.whole_layers else split
    return f"{way.value} over {'2' if count == 2 else '3 or more'}"
