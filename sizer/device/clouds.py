"""Names that stand for something else: extra aliases, cloud instances and classes of devices."""

from __future__ import annotations

import re
from functools import cache

from sizer.device.records import DeviceClass, Instance
from sizer.device.spelling import squash
from sizer.regex import pattern
from sizer.tables import read_rows
from sizer.units import GIB

# Lambda's instance types, with or without the cloud's name; on RunPod and Vast.ai the card's own name is the type.
_WORDS = pattern(r"[^a-z0-9+]+")
_RENTAL = pattern(
    r"(?:lambda(?:labs)?\s*:\s*)?gpu_(?P<count>\d+)x_(?P<counted>\w+)|(?:lambda(?:labs)?|runpod|vast(?:\.ai)?)\s*:\s*(?P<card>.+)",
    re.IGNORECASE,
)


@cache
def _aliases() -> dict[str, tuple[str, str]]:
    return {squash(row["alias"]): (row["means"], row["source"]) for row in read_rows("device_aliases.csv")}


def find_alias(text: str) -> tuple[str, str] | None:
    """What an extra alias stands for (a name, with a count where it is a whole machine), and why."""
    name = squash(text)
    return _aliases().get(name) or _aliases().get(name.removeprefix("nvidia"))


@cache
def instances() -> tuple[Instance, ...]:
    """Every cloud instance of the table."""
    return tuple(_instance(row) for row in read_rows("clouds.csv"))


def _instance(row: dict[str, str]) -> Instance:
    return Instance(
        cloud=row["cloud"],
        name=row["instance"],
        device_key=row["device_key"],
        count=int(row["count"]),
        device_memory_bytes=int(float(row["device_memory_gib"]) * GIB) if row["device_memory_gib"] else None,
        vcpus=int(row["vcpus"]) if row["vcpus"] else None,
        host_memory_bytes=int(float(row["ram_gib"]) * GIB) if row["ram_gib"] else None,
        link=row["link"],
        source=row["source"],
    )


def find_instance(text: str) -> Instance | None:
    """`aws:g5.xlarge`, `g5.xlarge`, `azure:NC24ads_A100_v4` (with or without `Standard_`)."""
    cloud, colon, name = text.casefold().partition(":")
    if not colon:
        cloud, name = "", text.casefold()
    name = name.strip()
    for instance in instances():
        if cloud in ("", instance.cloud) and name in _instance_names(instance):
            return instance
    return _only_one_with(cloud, name) if cloud else None


def _only_one_with(cloud: str, name: str) -> Instance | None:
    """The one instance of a cloud whose name holds all words typed (`aws p4d`, `azure nc24ads a100`); else None."""
    words = set(_WORDS.split(name)) - {""}
    found = [item for item in instances() if item.cloud == cloud and words <= set(_WORDS.split(item.name.casefold()))]
    return found[0] if words and len(found) == 1 else None


def card_of_rental(text: str) -> str | None:
    """The cards that a name of a cloud which rents by the card tells, with their count; None for other text.

    `lambda:gpu_8x_h100_sxm5` is `8x h100 sxm5`, `runpod:RTX 4090` is `RTX 4090`.
    """
    match = _RENTAL.fullmatch(text.strip())
    if match is None:
        return None
    count, name = match["count"], match["counted"] or match["card"]
    card = name.replace("_", " ")
    return f"{count}x {card}" if count else card


def _instance_names(instance: Instance) -> tuple[str, ...]:
    name = instance.name.casefold()
    return name, name.removeprefix("standard_"), name.replace("+", " + ")


@cache
def named_classes() -> tuple[DeviceClass, ...]:
    """Every class of devices, with the row that stands for it."""
    return tuple(
        DeviceClass(row["class"], row["key"], row["kind"], row["members"], int(row["since_year"]), row["source"])
        for row in read_rows("device_classes.csv")
    )


def find_class(text: str) -> DeviceClass | None:
    """The class of that name."""
    return next((named for named in named_classes() if squash(named.name) == squash(text)), None)
