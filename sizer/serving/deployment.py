"""One replica as the simulation needs it: its steps' law, its scheduler's rules, its cache."""

from __future__ import annotations

from dataclasses import dataclass

from sizer.device.records import Target
from sizer.engine.engines import find_engine
from sizer.engine.options import EngineOptions
from sizer.memory.shares import Case
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.rules import Scheduler, scheduler
from sizer.speed.case import SpeedCase, speed_case
from sizer.workload import Split, Workload


@dataclass(frozen=True, slots=True)
class Served:
    """A model in the format that is stored, on some devices, with an engine."""

    architecture: Architecture
    stored: Stored
    target: Target
    engine: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model on the devices of one replica with one engine; `case` and `memory` are what speed and memory look at."""

    case: SpeedCase
    memory: Case
    layout: Layout
    rules: Scheduler


def deployment(
    served: Served,
    layout: Layout,
    load: Load,
    *,
    engine_version: str = "",
    kv_precision: str = "fp16",
) -> Deployment:
    """One replica of what is served; the target's devices are those of the layout."""
    architecture, stored, target = served.architecture, served.stored, served.target
    found = find_engine(served.engine)
    split = Split.TENSOR if layout.stages == 1 else Split.PIPELINE
    whole = load.prompt_tokens + load.output_tokens
    workload = Workload(
        load.prompt_tokens, load.output_tokens, whole, kv_precision=kv_precision,
        parallelism=split if target.count > 1 else None,
    )  # fmt: skip
    memory = Case(
        architecture=architecture,
        stored=stored,
        workload=workload,
        target=target,
        engine=found.memory(engine_version),
        parallelism=split,
        can_offload=False,
        experts_first=False,
        options=EngineOptions(found.name, engine_version),
    )
    case = speed_case(architecture, stored, target, workload, found.name, engine_version=engine_version or None)
    return Deployment(case, memory, layout, scheduler(found.name, target.device, engine_version))
