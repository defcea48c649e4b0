"""The ways one machine can serve a model: replicas times the ranks of each."""

from __future__ import annotations

from collections.abc import Iterator

from sizer.engine.engines import Engine
from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.serving.layout import Layout
from sizer.workload import Split

NODE_DEVICES = 8


def layouts(
    architecture: Architecture, engine: Engine, devices: int, *, asked: Split | None = None, replicas: int | None = None
) -> Iterator[tuple[Layout, int]]:
    """Each layout of one replica with how many replicas fill the machine, fewest devices a replica first.

    Raises UsageError where the devices cannot be shared as asked.
    """
    if replicas is not None and devices % replicas:
        raise UsageError(
            f"{devices} devices do not part into {replicas} equal replicas.", f"Give --replicas that divides {devices}."
        )
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
    if wanted & {"pipeline", "layer"}:
        yield Layout(stages=devices, in_flight="pipeline" in ways)


def _divides(architecture: Architecture, ranks: int) -> bool:
    """Whether every layer's query heads part evenly."""
    return all(not mixer.heads or mixer.heads % ranks == 0 for mixer in architecture.mixer_counts)


def is_measured(layout: Layout) -> bool:
    """Whether points under load stand behind the kind of layout: pipelines and groups beyond a node are arithmetic."""
    return layout.stages == 1 and layout.devices <= NODE_DEVICES
