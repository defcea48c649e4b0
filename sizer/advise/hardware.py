"""Which devices, counts of them and cloud instances run a model as asked, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sizer.advise.advice import questions_for
from sizer.advise.recommend import Wanted
from sizer.advise.search import best_of
from sizer.answer.records import Estimate
from sizer.device import catalogue
from sizer.device.clouds import instances
from sizer.device.records import Target
from sizer.engine.engines import find_engine
from sizer.engine.options import EngineOptions
from sizer.errors import SizerError, UnknownEngine
from sizer.model.architecture import Architecture
from sizer.workload import Workload

COUNTS = (1, 2, 4, 8)
"""How many equal cards a machine usually holds."""
COUNTED_KINDS = frozenset({"gpu"})


@dataclass(frozen=True, slots=True)
class Fitting:
    """One target that runs the model as asked: its estimate, all its memory, and its launch price where one is known.

    `rented` is the cloud instance's name, empty for a device of one's own.
    """

    estimate: Estimate
    memory_bytes: int
    price_usd_launch: float | None
    rented: str = ""


def hardware(
    architecture: Architecture,
    workload: Workload,
    wanted: Wanted,
    *,
    engine: str | None = None,
    options: EngineOptions | None = None,
    precision: str | None = None,
    text: str = "",
    order: str = "memory",
) -> list[Fitting]:
    """Devices (the fewest of each that suffice) and instances that run the model as asked, in an order of `ORDERS`.

    Devices that the engine does not run on are left out; UnknownEngine is raised for an engine that nobody knows.
    """
    if engine is not None:
        find_engine(engine)
    found = []
    sufficient: set[str] = set()
    for target, rented in _targets(text):
        if not rented and target.device.key in sufficient:
            continue
        try:
            questions = questions_for(architecture, target, workload, engine, options)
        except UnknownEngine:
            continue
        asked = [item for item in questions if precision in {None, item.precision}]
        chosen = best_of(asked, wanted)
        if chosen is not None:
            found.append(_fitting(chosen, target, rented))
            sufficient.add(target.device.key)
    return sorted(found, key=ORDERS[order])


def _price(item: Fitting) -> float:
    """The launch price; what has none comes after all that have one."""
    return item.price_usd_launch or float("inf")


def _slowness(item: Fitting) -> float:
    return -(item.estimate.speed.decode.tokens_per_s if item.estimate.speed else 0.0)


ORDERS: Mapping[str, Callable[[Fitting], tuple[float, float, float]]] = {
    "memory": lambda item: (item.memory_bytes, _price(item), _slowness(item)),
    "price": lambda item: (_price(item), item.memory_bytes, _slowness(item)),
    "speed": lambda item: (_slowness(item), item.memory_bytes, _price(item)),
}
"""Ways to sort: cheapest memory first, by launch price where the table knows one, or fastest first."""


def _targets(text: str) -> Iterator[tuple[Target, str]]:
    """Every device with memory of its own in its usual counts, then every cloud instance."""
    for device in catalogue.search(text):
        if device.memory_bytes is None or device.bandwidth_bytes_per_s is None:
            continue
        for count in COUNTS if device.kind in COUNTED_KINDS else (1,):
            yield catalogue.find(f"{count}x{device.key}" if count > 1 else device.key), ""
    seen: set[tuple[str, str, int]] = set()
    for instance in instances():
        name = f"{instance.cloud}:{instance.name}"
        if all(word.lower() in name.lower() for word in text.split()):
            with suppress(SizerError):
                target = catalogue.find(name)
                # Instances of one cloud with the same devices differ in what the model does not use: the first stands.
                same = (instance.cloud, target.device.key, target.count)
                if same not in seen:
                    seen.add(same)
                    yield target, name


def _fitting(chosen: Estimate, target: Target, rented: str) -> Fitting:
    device = target.device
    price = device.price_usd_launch * target.count if device.price_usd_launch and not rented else None
    return Fitting(chosen, (device.memory_bytes or 0) * target.count, price, rented)
