"""One replica as the simulation needs it: its steps' law, its scheduler's rules, its cache."""

from __future__ import annotations

from dataclasses import replace

from sizer.device.records import Target
from sizer.engine.engines import find_engine
from sizer.engine.flagged import cache_type
from sizer.engine.options import EngineOptions
from sizer.frozen import dataclass
from sizer.memory.case import Case, DraftBeside
from sizer.memory.prefill_default import default_prefill_tokens
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.rounds import Drafts
from sizer.serving.rules import Scheduler, scheduler
from sizer.speed.case import SpeedCase, speed_case
from sizer.speed.records import DraftMethod
from sizer.workload import Split, Workload


@dataclass(frozen=True, slots=True)
class Served:
    """A model in the format that is stored, on some devices, with an engine."""

    architecture: Architecture
    stored: Stored
    target: Target
    engine: str
    options: EngineOptions | None = None
    """What the engine's own flags said, and its version."""
    drafts: Drafts | None = None
    """What drafts beside the model."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model on the devices of one replica with one engine; `case` and `memory` are what speed and memory look at."""

    case: SpeedCase
    memory: Case
    layout: Layout
    rules: Scheduler
    drafts: Drafts | None = None


def deployment(
    served: Served,
    layout: Layout,
    load: Load,
    *,
    kv_precision: str = "fp16",
    step_tokens: int | None = None,
    max_sequences: int | None = None,
    date: str = "",
) -> Deployment:
    """One replica of what is served; the target's devices are those of the layout.

    A step's tokens and sequences are as given, else as the engine's own flags say, else those of its release, which the
    `date` of a run (ISO) tells where no version does.
    """
    architecture, stored, target = served.architecture, served.stored, served.target
    found = find_engine(served.engine)
    options = served.options or EngineOptions(found.name)
    split = Split.TENSOR if layout.stages == 1 else Split.PIPELINE
    whole = load.prompt_tokens + load.output_tokens
    workload = Workload(
        load.prompt_tokens, load.output_tokens, whole, kv_precision=cache_type(options.k_cache_type) or kv_precision,
        parallelism=split if target.count > 1 else None,
    )  # fmt: skip
    memory = _memory_case(served, workload, split, options)
    case = speed_case(
        architecture, stored, target, workload, found.name, backend=memory.backend,
        engine_version=options.version or None, graphs=options.graphs,
    )  # fmt: skip
    given = frozenset(word for name, value in options.given for word in _words(name, value))
    rules = scheduler(found.name, target.device, options.version, given, date)
    rules = rules.with_limits(default_prefill_tokens(memory)).as_told(options, _longest(architecture, options))
    limited = rules.with_limits(step_tokens, max_sequences)
    return Deployment(case, memory, layout, limited.over_ranks(layout.attention_groups), served.drafts)


def _words(name: str, value: object) -> tuple[str, str]:
    """A flag as the table of schedulers names it: alone, with what stands before it where it is off, with its value."""
    return (f"no-{name}" if value is False else name), f"{name}={value}".lower()


def _longest(architecture: Architecture, options: EngineOptions) -> int:
    """The longest prompt that a server takes."""
    return options.context_tokens or architecture.max_context_tokens or 1


def _memory_case(served: Served, workload: Workload, split: Split, options: EngineOptions) -> Case:
    """What is served as memory looks at it: all on the devices."""
    return Case(
        architecture=served.architecture,
        stored=served.stored,
        workload=workload,
        target=served.target,
        engine=find_engine(served.engine).memory(options.version),
        parallelism=split,
        can_offload=False,
        experts_first=False,
        options=_of_one_replica(options),
        draft=_beside(served.drafts),
    )


def _beside(drafts: Drafts | None) -> DraftBeside | None:
    """A model that drafts, which takes memory of its own."""
    return DraftBeside(*drafts.drafter) if drafts is not None and not isinstance(drafts.drafter, DraftMethod) else None


def _of_one_replica(options: EngineOptions) -> EngineOptions:
    """The options without those that say how many devices and replicas there are: the layout tells that."""
    return replace(options, tensor_parallel=None, pipeline_parallel=None, data_parallel=None)
