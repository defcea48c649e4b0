"""The ways one machine can serve a model: replicas times the ranks of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sizer.engine.engines import Engine
from sizer.engine.flagged import attention_groups
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.serving.layout import NODE_DEVICES, Layout
from sizer.workload import Split


def layouts(
    architecture: Architecture,
    engine: Engine,
    devices: int,
    *,
    asked: Split | None = None,
    replicas: int | None = None,
    flags: EngineOptions | None = None,
) -> Iterator[tuple[Layout, int]]:
    """Each layout of one replica with how many replicas fill the machine, fewest devices a replica first.

    Raises UsageError where the devices cannot be shared as asked.
    """
    if replicas is not None and devices % replicas:
        raise UsageError(
            f"{devices} devices do not part into {replicas} equal replicas.", f"Give --replicas that divides {devices}."
        )
    told = layout_told(flags, architecture) if flags is not None else None
    found = False
    ways = _filling(told, devices) if told else _tried(architecture, engine, devices, asked, replicas)
    experts = flags is not None and flags.expert_parallel and architecture.experts is not None
    for way, count in ways:
        layout = replace(way, expert_parallel=True) if experts and way.devices > 1 else way
        if layout.tensor_ranks == 1 or _divides(architecture, layout.tensor_ranks):
            found = True
            yield layout, count
    if not found:
        raise UsageError(
            f"{engine.name} has no way to share this model over {devices} devices as asked.",
            "Leave out --parallel or --replicas, or take another --engine.",
        )


def layout_told(flags: EngineOptions, architecture: Architecture) -> Layout | None:
    """The devices of one replica by the engine's own flags; None where they leave them open.

    Ranks of --data-parallel-size are replicas, unless a mixture's experts lie over them or they part the attention of
    the tensor ranks: then they are its groups.
    """
    sizes = (flags.tensor_parallel, flags.pipeline_parallel, flags.data_parallel)
    if all(size is None for size in sizes) or min(size or 1 for size in sizes) < 1:
        return None
    tensor, stages, groups = flags.tensor_parallel or 1, flags.pipeline_parallel or 1, attention_groups(flags)
    if flags.attention_data_parallel:
        if tensor % groups:
            raise UsageError(f"{tensor} tensor ranks do not part into {groups} groups of attention.")
        tensor //= groups
    elif not (architecture.experts and ((flags.experts_over_data or 1) > 1 or flags.expert_parallel)):
        groups = 1
    return Layout(tensor, groups, stages, in_flight=stages > 1)


def _filling(layout: Layout, devices: int) -> Iterator[tuple[Layout, int]]:
    """A layout with the replicas of it that fill the machine: --tensor-parallel-size 2 on eight devices leaves four."""
    if devices % layout.devices:
        raise UsageError(
            f"{devices} devices do not part into groups of {layout.devices}.", "Ask for ranks that divide the devices."
        )
    yield layout, devices // layout.devices


def _tried(
    architecture: Architecture, engine: Engine, devices: int, asked: Split | None, replicas: int | None
) -> Iterator[tuple[Layout, int]]:
    """Each layout that nothing speaks against, fewest devices first."""
    for each in (count for count in range(1, devices + 1) if devices % count == 0):
        if replicas in (None, devices // each):
            yield from ((layout, devices // each) for layout in _of(architecture, engine, each, asked))


def _of(architecture: Architecture, engine: Engine, devices: int, asked: Split | None) -> Iterator[Layout]:
    named = [str(getattr(way, "value", way)) for way in engine.parallelism]
    ways, wanted = set(named), {asked.value} if asked is not None else set(named[:1])
    if devices == 1:
        yield Layout()
        return
    if wanted & {"tensor", "row"} and _divides(architecture, devices):
        yield Layout(tensor_ranks=devices)
    latent = any(mixer.latent_elements for mixer in architecture.mixer_counts)
    if "expert" in wanted or (asked is None and latent and architecture.experts and "expert" in ways):
        yield Layout(tensor_ranks=1, attention_groups=devices, expert_parallel=True)
    if devices > NODE_DEVICES and devices % NODE_DEVICES == 0 and "pipeline" in ways and asked is None:
        yield Layout(tensor_ranks=NODE_DEVICES, stages=devices // NODE_DEVICES, in_flight=True)
    if wanted & {"pipeline", "layer"}:
        yield Layout(stages=devices, in_flight="pipeline" in ways)


def _divides(architecture: Architecture, ranks: int) -> bool:
    """Whether every layer's query heads part evenly."""
    return all(not mixer.heads or mixer.heads % ranks == 0 for mixer in architecture.mixer_counts)


def is_measured(layout: Layout) -> bool:
    """Whether points under load stand behind the kind of layout: pipelines and groups beyond a node are arithmetic."""
    return layout.stages == 1 and layout.devices <= NODE_DEVICES
