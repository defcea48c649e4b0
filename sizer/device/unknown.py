"""What is told of a device that no table knows: the nearest names, or what was meant instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from sizer.device import table as rows
from sizer.device.clouds import instances, named_classes
from sizer.device.cpu_generations import family_keys
from sizer.device.lookup import find_row
from sizer.device.records import Device, Target
from sizer.device.slices import is_bare_slice, no_such_slice
from sizer.device.spelling import share_a_word, spell
from sizer.errors import UnknownDevice, nearest

# Devices that an error lists of a line that has more.
MOST_OFFERED = 6
MOST_NEAREST = 3
"""Names that an error offers of those that are nearly what was typed."""

_A_SIZE = re.compile(r"\d+(?:\.\d+)?\s*[mgt]i?b?(?:\s+(?:of\s+)?(?:v?ram|memory|gpu|card))?", re.IGNORECASE)
_WITH_RAM = re.compile(
    r"(.+?)\s*(?:\+|,|\bwith\b|\band\b|\s)\s*(\d+)\s*gi?b\s*(?:of\s+)?(?:system\s+)?(?:ram|memory|ddr\d\S*)",
    re.IGNORECASE | re.DOTALL,
)
_NO_COUNT = re.compile(r"(-\d+|\d*\.\d+)\s*[x\u00d7*]\s*(\S.*)", re.IGNORECASE | re.DOTALL)
_VARIANT = re.compile(r"-(?:\d+gb|sxm\d?|pcie|nvl|\d+c)\b")
_MAKER = re.compile(r"^(?:nvidia|amd|intel|apple)\s+(?:geforce|radeon)?\s*")


def unknown_device(text: str, single: str, find: Callable[[str], Target | None]) -> UnknownDevice:
    """The error for text that names no device; `single` is the text without a count, `find` what a name means."""
    if is_bare_slice(text):
        return UnknownDevice(
            f"{text!r} is a slice of an unnamed card.", "Name the card first: 'a100-80gb-sxm 1g.10gb'."
        )
    if _A_SIZE.fullmatch(text) or _A_SIZE.fullmatch(single):
        return UnknownDevice(
            f"{text!r} is a size, not a device.",
            "Name a card of that size, or describe one: --memory 24GiB --bandwidth 936GB/s "
            "(`sizer recommend` takes --vram 24GiB alone).",
        )
    refused = no_such_slice(single, find_row)
    if refused:
        return UnknownDevice(refused, "'sizer devices nvidia' lists cards.")
    counted = _NO_COUNT.fullmatch(text)
    if counted and find(counted[2]):
        return UnknownDevice(f"{text!r} asks for {counted[1]} devices.", f"Write a whole number, as 2x{counted[2]}.")
    beside = _WITH_RAM.fullmatch(text)
    if beside and find(beside[1]):
        return UnknownDevice(
            f"{text!r} names a device and the memory beside it.", f"Write -d {beside[1]!r} --ram {beside[2]}GiB."
        )
    bare = _MAKER.sub("", single.lower())
    names = _of_the_line(text, find) or _first((*_own_card(bare, find), *_nearest(bare, find)))
    listed = f"Nearest: {', '.join(names)}. " if names else "No known name is near. "
    word = next(iter(spell(text).vendors), "TEXT") if names else "TEXT"
    instead = f"'sizer devices {word}' searches; --bandwidth and --memory describe another."
    if _of_a_cloud(single):
        instead = "An instance without an accelerator is its CPU: -d graviton3 --threads 16 --memory 32GiB."
    return UnknownDevice(f"unknown device {text!r}.", f"{listed}{instead}")


def _own_card(bare: str, find: Callable[[str], Target | None]) -> Iterator[str]:
    """The card of a text that names a variant which is not made (`h100-sxm-96gb`)."""
    card = _VARIANT.sub("", re.sub(r"\s+", "-", bare))
    if card != bare and find(card):
        yield card


def _first(names: Iterable[str]) -> list[str]:
    return list(islice(dict.fromkeys(names), MOST_NEAREST))


def _of_a_cloud(text: str) -> bool:
    """Whether a text names a cloud and an instance of it, `aws:c7i.8xlarge` or `aws c7i.8xlarge`."""
    cloud, _, name = text.strip().lower().replace(" ", ":", 1).partition(":")
    return bool(name) and cloud in {instance.cloud for instance in instances()} and any(map(str.isdigit, name))


def _nearest(bare: str, find: Callable[[str], Target | None]) -> Iterator[str]:
    """The names nearest to a text, best first; a card's variants (`h100-80gb-sxm`) count as the card's own name."""
    by_card: dict[str, str] = {}
    for name in _offered():
        by_card.setdefault(_VARIANT.sub("", name).removeprefix("apple-"), name)
    for found in nearest(bare, by_card, 8 * MOST_NEAREST):
        if share_a_word(bare, found):
            yield found if find(found) else by_card[found]


def _of_the_line(text: str, find: Callable[[str], Target | None]) -> list[str]:
    """The newest devices of what names no more than a vendor or a line (`macbook`, `radeon`), one of each chip; beside
    a memory (`16gb mac`) those sold with it, as one types them."""
    asked = spell(text)
    if asked.core or not (asked.vendors or asked.lines):
        return []
    same: dict[str, Device] = {}
    for number in range(len(rows.table()[1])):
        device = rows.device(number)
        lines: frozenset[str] = frozenset().union(*(spell(name).lines for name in rows.spellings(number)))
        if (asked.vendors <= {device.vendor} or asked.vendors & lines) and asked.lines <= lines:
            same.setdefault(device.name.partition(" (")[0], device)
    words = text.casefold().split()
    named = [device for device in same.values() if all(word in device.name.casefold() for word in words)]
    known = named if len(named) > 1 else [device for device in same.values() if not _is_a_phone(device, text)]
    newest = sorted(known, key=lambda device: (-(device.release_year or 0), len(device.name)))
    keys = [device.key for device in newest]
    if asked.facts.memory_gib:
        keys = [sold for key in keys if find(sold := f"{key} {asked.facts.memory_gib:g}GB")] or keys
    return keys[:MOST_OFFERED]


def _is_a_phone(device: Device, text: str) -> bool:
    """Whether a chip of telephones stands beside what a text calls a Mac."""
    return "mac" in text.casefold() and "iphone" in device.name.casefold() and "mac" not in device.name.casefold()


def _offered() -> Iterable[str]:
    yield from rows.by_key()
    yield from family_keys()
    yield from (f"{instance.cloud}:{instance.name}" for instance in instances())
    yield from (named.name for named in named_classes())
