"""The ways one machine can serve a model: replicas times the ranks of each."""

from __future__ import annotations

from collections.abc import Iterator

from sizer.engine.engines import Engine
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
    replicas = _replicas_told(flags, devices) or replicas
    found = False
    for each in (count for count in range(1, devices + 1) if devices % count == 0):
        if replicas not in (None, devices // each):
            continue
        for layout in _of(architecture, engine, each, asked):
            found = True
            yield layout, devices // each
    if not found:
        raise UsageError(
            f"{engine.name} has no way to share this model over {devices} devices as asked.",
            "Leave out --parallel or --replicas, or take another --engine.",
        )


def _replicas_told(flags: EngineOptions | None, devices: int) -> int | None:
    """Replicas that the engine's own flags leave room for: --tensor-parallel-size 2 on eight devices leaves four."""
    if flags is None or not (flags.tensor_parallel or flags.pipeline_parallel):
        return None
    each = (flags.tensor_parallel or 1) * (flags.pipeline_parallel or 1)
    if devices % each:
        raise UsageError(
            f"{devices} devices do not part into groups of {each}.", "Ask for ranks that divide the devices."
        )
    return devices // each


def _of(architecture: Architecture, engine: Engine, devices: int, asked: Split | None) -> Iterator[Layout]:
    ways = {str(getattr(way, "value", way)) for way in engine.parallelism}
    wanted = {asked.value} if asked is not None else ways & {"tensor"} or ways & {"layer"}
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
