"""Installed memory modules: how many channels they fill and how fast they run, as firmware tells it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sizer.device.edge import whole_number
from sizer.frozen import NamedTuple

CHANNEL_BITS = 64
# What modules can be: from SDR's clock to beyond any announced, a sub-channel to a stack of HBM.
SLOWEST_MTS, FASTEST_MTS = 100, 50_000
WIDTHS = range(8, 1025)
# SMBIOS type numbers of memory: DMTF DSP0134, "Memory Device - Type".
MEMORY_TYPES = {20: "DDR", 21: "DDR2", 24: "DDR3", 26: "DDR4", 29: "LPDDR3", 30: "LPDDR4", 34: "DDR5", 35: "LPDDR5",
                32: "HBM", 33: "HBM2", 36: "HBM3"}  # fmt: skip
_LETTER = re.compile(r"channel[ _-]?([a-p])\b|channel([a-p])|dimm[ _-]?([a-p])\d?\b", re.IGNORECASE)
_NODE = re.compile(r"\b(?:p|cpu|node|proc|controller)[ _]?(\d)", re.IGNORECASE)


class Module(NamedTuple):
    """One populated slot: where it is, its speed in MT/s, its data width in bits and its type."""

    place: str
    mts: int
    width_bits: int = CHANNEL_BITS
    kind: str = ""


class Installed(NamedTuple):
    """All modules together. `channels` of 64 bits are None where the slots do not name theirs; the slowest counts."""

    channels: float | None = None
    mts: int | None = None
    modules: int | None = None
    kind: str = ""


NOTHING_TOLD = Installed()


def together(modules: Iterable[Module]) -> Installed:
    """Populated slots are not channels (four modules of a desktop are two), so channels are told by the letter in the
    slot's name: `P0 CHANNEL A`, `DIMM_B1`, `Controller1-ChannelC-DIMM0`. A channel is as wide as its widest module."""
    found = [one for one in modules if SLOWEST_MTS <= one.mts <= FASTEST_MTS and one.width_bits in WIDTHS]
    if not found:
        return NOTHING_TOLD
    widths: dict[tuple[str, str] | None, int] = {}
    for module in found:
        letter, node = _LETTER.search(module.place), _NODE.search(module.place)
        place = (node[1] if node else "", next(filter(None, letter.groups())).lower()) if letter else None
        widths[place] = max(widths.get(place, 0), module.width_bits)
    channels = sum(widths.values()) / CHANNEL_BITS if None not in widths else None
    speed = min(module.mts for module in found)
    kinds = {module.kind for module in found if module.kind}
    return Installed(channels, speed, len(found), kinds.pop() if len(kinds) == 1 else "")


def from_dmidecode(text: str) -> Installed:
    """The modules of `dmidecode -t 17`."""
    modules = []
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        told = {name.strip(): value.strip() for name, _, value in pairs}
        speed = re.match(r"(\d+) MT/s", told.get("Configured Memory Speed", "") or told.get("Speed", ""))
        if not re.match(r"\d", told.get("Size", "")) or not speed:
            continue
        width = re.match(r"(\d+) bits", told.get("Data Width", ""))
        place = f"{told.get('Bank Locator', '')} {told.get('Locator', '')}"
        kind = told.get("Type", "")
        modules.append(
            Module(place, int(speed[1]), int(width[1]) if width else CHANNEL_BITS, kind if "DDR" in kind else "")
        )
    return together(modules)


def from_cim(listed: Iterable[dict[str, object]]) -> Installed:
    """The modules of Windows' Win32_PhysicalMemory. A speed of zero is none told."""
    modules = []
    for slot in listed:
        speed = whole_number(slot.get("ConfiguredClockSpeed")) or whole_number(slot.get("Speed"))
        if not speed or not whole_number(slot.get("Capacity")):
            continue
        place = f"{slot.get('BankLocator') or ''} {slot.get('DeviceLocator') or ''}"
        width = whole_number(slot.get("DataWidth")) or CHANNEL_BITS
        kind = MEMORY_TYPES.get(whole_number(slot.get("SMBIOSMemoryType")) or 0, "")
        modules.append(Module(place, speed, width, kind))
    return together(modules)
