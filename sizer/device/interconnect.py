"""Links between devices and to the host: the rows of `data/interconnects.csv`, rates in one direction."""

from __future__ import annotations

import re
from functools import cache

from sizer.device.records import Device
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import read_rows
from sizer.units import GB

# Chips whose memory is the host's own: nothing is carried over a link.
SHARES_HOST_MEMORY = frozenset({"cpu", "apple", "apu", "sbc"})
# The rates of the table are those of a slot with this many lanes.
SLOT_LANES = 16

_PCIE = pattern(r"(\d)\.0(?: x(\d+))?")


class Link(NamedTuple):
    """A link by name, its rate in one direction, and where that was read."""

    name: str
    bytes_per_s: float
    source: str


@cache
def _links() -> tuple[dict[str, str], ...]:
    return tuple(read_rows("interconnects.csv"))


def between_devices(device: Device, name: str = "") -> Link | None:
    """The link between equal devices in one machine: the one named, else the device's own, else its PCIe slot.

    None where the device has neither in the tables. Bridges that only some machines have (NVLink between
    two RTX 3090 or A100 PCIe) are not assumed.
    """
    for row in _links():
        own = row["scope"] == "devices" and _is_of(row, device)
        if row["name"] == name or (own and not name):
            return Link(row["name"], float(row["per_direction_gbs"]) * GB, row["source"])
    return None if device.kind in SHARES_HOST_MEMORY else pcie(device.pcie)


def linked_devices(device: Device) -> int:
    """How many devices their own link joins where it leaves the machine (NVLink in a rack); 0 where it does not."""
    row = next((row for row in _links() if row["scope"] == "devices" and _is_of(row, device)), None)
    return int(row["rack_devices"] or 0) if row else 0


def _is_of(row: dict[str, str], device: Device) -> bool:
    return bool(re.fullmatch(row["device_keys"] or "$.", device.key))


def to_host(device: Device) -> Link | None:
    """The link that carries offloaded layers: the chip's own to its CPU, else PCIe. None where memory is shared."""
    if device.kind in SHARES_HOST_MEMORY:
        return None
    for row in _links():
        if row["scope"] == "host" and _is_of(row, device):
            return Link(row["name"], float(row["per_direction_gbs"]) * GB, row["source"])
    return pcie(device.pcie)


def pcie(slot: str) -> Link | None:
    """A PCIe link (`4.0 x8`): the generation's x16 rate by the share of its lanes; None for other text."""
    match = _PCIE.search(slot)
    if not match:
        return None
    lanes = min(int(match[2] or SLOT_LANES), SLOT_LANES)
    for row in _links():
        if row["name"] == f"PCIe {match[1]}.0 x{SLOT_LANES}":
            rate = float(row["per_direction_gbs"]) * GB * lanes / SLOT_LANES
            return Link(f"PCIe {match[1]}.0 x{lanes}", rate, row["source"])
    return None
