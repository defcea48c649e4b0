"""Which devices, counts of them and cloud instances run a model as asked, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache

from sizer.advise.advice import questions_for
from sizer.advise.recommend import SERVED_SEQUENCES, Wanted
from sizer.advise.search import best_of
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device import catalogue
from sizer.device.clouds import instances
from sizer.device.records import Target
from sizer.device.spelling import spell
from sizer.engine.engines import engines
from sizer.engine.memory_rules import engine_memory
from sizer.engine.model_classes import model_code
from sizer.engine.options import EngineOptions
from sizer.errors import SizerError, UnknownDevice, UnknownEngine
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.serving.prices import Price, price_of
from sizer.units import GIB
from sizer.workload import Workload

NEVER_RENTED = 1e9
"""Dollars an hour that sort what nobody rents out behind all that is rented."""
COUNTS = (1, 2, 4, 8)
"""How many equal cards a machine usually holds."""
COUNTED_KINDS = frozenset({"gpu"})


@dataclass(frozen=True, slots=True)
class Fitting:
    """One target that runs the model as asked: its estimate, all its memory, and what it costs where that is known.

    `rented` is the cloud instance's name, empty for a device of one's own. `price_usd_launch` buys the devices, `rent`
    is what an hour of one costs.
    """

    estimate: Estimate
    memory_bytes: int
    price_usd_launch: float | None
    rented: str = ""
    rent: Price | None = None

    @property
    def usd_per_hour(self) -> float | None:
        """Rent of all the devices."""
        return self.rent.usd_per_device_hour * self.estimate.target.count if self.rent else None

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Rent over what all sequences decode in that time (an encoder: reads), the machine busy throughout."""
        speed = self.estimate.speed
        if self.usd_per_hour is None or speed is None:
            return None
        tokens_per_s = speed.prefill.tokens_per_s
        if self.estimate.architecture.decodes:
            tokens_per_s = speed.decode.tokens_per_s * self.estimate.workload.batch_size
        return self.usd_per_hour / (3600 * tokens_per_s) * 1e6


def hardware(
    architecture: Architecture,
    workload: Workload,
    wanted: Wanted,
    *,
    flags: EngineOptions | None = None,
    precision: str | None = None,
    text: str = "",
    order: str = "price",
    prices: Mapping[str, float] | None = None,
) -> list[Fitting]:
    """Devices (the fewest of each that suffice) and instances that run the model as asked, in an order of `ORDERS`.

    `flags` name the engine, with its own flags (None: the usual ones). Devices that it does not run on are left out;
    for many sequences an engine that serves comes first. `prices` are USD an hour by device key that override the
    table's. Raises UnknownEngine for an engine without code for the model, UnknownDevice where nothing has the words
    of `text`.
    """
    lacking = model_code(architecture, flags.engine, flags).lacking if flags else ""
    if lacking:
        raise UnknownEngine(lacking, "Leave --engine out for the usual ones.")
    found = []
    sufficient: set[str] = set()
    for target, rented in _targets_asked(text):
        if not rented and target.device.key in sufficient:
            continue
        try:
            questions = _questions(architecture, target, workload, flags)
        except UnknownEngine:
            continue
        asked = [item for item in questions if precision in {None, item.precision}]
        chosen = best_of(asked, wanted)
        if chosen is not None:
            found.append(_fitting(chosen, target, rented, prices))
            sufficient.add(target.device.key)
    return sorted(found, key=ORDERS[order])


def _targets_asked(text: str) -> list[tuple[Target, str]]:
    """The targets that these words leave, with a cloud instance's name. Raises UnknownDevice where they leave none."""
    targets = list(_targets(text))
    if not targets and (beside := catalogue.search(text)):
        raise UnknownDevice(
            f"{text!r} names devices whose memory or bandwidth the table does not tell, as {beside[0].key}.",
            f"'sizer estimate MODEL -d {beside[0].key} --ram 64GiB' takes one with the memory beside it.",
        )
    if not targets:
        maker = next((f" --device {name} has that maker's." for name in spell(text).vendors), "")
        hint = f"'sizer devices TEXT' searches; leave --device out for all.{maker}"
        raise UnknownDevice(f"nothing matched {text!r}.", hint)
    return targets


def _questions(
    architecture: Architecture, target: Target, workload: Workload, flags: EngineOptions | None
) -> list[Question]:
    """The ladder to choose from: for many sequences that of an engine made to serve, where one runs on the device."""
    if flags is None and workload.batch_size >= SERVED_SEQUENCES:
        for name in serving_engines():
            with suppress(UnknownEngine):
                return questions_for(architecture, target, workload, name, None)
    return questions_for(architecture, target, workload, flags.engine if flags else None, flags)


@cache
def serving_engines() -> tuple[str, ...]:
    """The engines that take their cache as a pool and batch continuously, in the table's order."""
    return tuple(
        name
        for name in engines()
        if (rule := engine_memory(name)) is not None
        and rule.allocates == "fraction_of_device"
        and not (rule.like or rule.pool_backends)
    )


def _price(item: Fitting) -> float:
    """The hour's rent; what has none comes after all that have one, by launch price."""
    return (
        item.usd_per_hour if item.usd_per_hour is not None else NEVER_RENTED + (item.price_usd_launch or NEVER_RENTED)
    )


def _slowness(item: Fitting) -> float:
    return -(item.estimate.pace.rate if item.estimate.pace else 0.0)


ORDERS: Mapping[str, Callable[[Fitting], tuple[float, float, float]]] = {
    "memory": lambda item: (item.memory_bytes, _price(item), _slowness(item)),
    "price": lambda item: (_price(item), item.memory_bytes, _slowness(item)),
    "speed": lambda item: (_slowness(item), item.memory_bytes, _price(item)),
}
"""Ways to sort: least memory first, the cheapest by the hour's rent where one is known, or the fastest."""


def _targets(text: str) -> Iterator[tuple[Target, str]]:
    """Every device with memory of its own in its usual counts, or in each memory that it is sold with, the smallest
    first; then every cloud instance."""
    for device in catalogue.search(text):
        if device.memory_bytes is None or device.bandwidth_bytes_per_s is None:
            continue
        one = catalogue.find(device.key)
        if not device.memory_options_bytes:
            yield one, ""
        for size_bytes in sorted(device.memory_options_bytes):
            sold = replace(device, memory_bytes=size_bytes, memory_options_bytes=())
            yield replace(one, device=sold, notes=(), asked=f"{device.key} {size_bytes // GIB}GB"), ""
        for count in COUNTS[1:] if device.kind in COUNTED_KINDS else ():
            yield replace(catalogue.repeated(one, count), asked=f"{count}x{device.key}"), ""
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


def _fitting(chosen: Estimate, target: Target, rented: str, prices: Mapping[str, float] | None) -> Fitting:
    device = target.device
    price = device.price_usd_launch * target.count if device.price_usd_launch and not rented else None
    memory_bytes = (device.memory_bytes or 0) * target.count
    return Fitting(chosen, memory_bytes, price, rented, price_of(target, prices))
