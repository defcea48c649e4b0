"""What a PCI id is called, and whether a GPU of that id or name sits in the processor: `data/pci_devices.csv`."""

from __future__ import annotations

import re
from functools import cache

from sizer.frozen import NamedTuple
from sizer.tables import read_rows

VENDORS = {"10de": "nvidia", "1002": "amd", "8086": "intel", "5143": "qualcomm", "1ed5": "moorethreads",
           "1ae0": "google", "1da3": "intel", "1d0f": "aws", "19e5": "huawei", "106b": "apple"}  # fmt: skip


class PciDevice(NamedTuple):
    """The name of a device, and whether it is integrated."""

    name: str
    integrated: bool


@cache
def _table() -> dict[tuple[str, str, str], PciDevice]:
    return {
        (row["vendor"], row["device"], row["revision"]): PciDevice(row["name"], row["integrated"] == "yes")
        for row in read_rows("pci_devices.csv")
    }


@cache
def _integrated_names() -> re.Pattern[str]:
    return re.compile("|".join(row["pattern"] for row in read_rows("integrated_gpus.csv")), re.IGNORECASE)


def find_pci(vendor: str, device: str, revision: str = "") -> PciDevice | None:
    """The device of an id, by its revision (a TPU's subsystem) where that decides. Ids are hexadecimal, `0x` or not."""
    vendor, device, revision = (_bare(part) for part in (vendor, device, revision))
    found = _table()
    return found.get((vendor, device, revision.zfill(2))) or found.get((vendor, device, ""))


def _bare(text: str) -> str:
    return text.strip().casefold().removeprefix("0x")


def ids_of(text: str) -> tuple[str, str, str]:
    """Vendor, device and revision of Windows' `PCI\\VEN_1002&DEV_744C&SUBSYS_...&REV_C8\\...`; empty where missing."""
    found = (re.search(rf"{name}_([0-9A-F]+)", text, re.IGNORECASE) for name in ("VEN", "DEV", "REV"))
    vendor, device, revision = (match[1].casefold() if match else "" for match in found)
    return vendor, device, revision


def is_integrated_name(name: str) -> bool:
    """Whether a driver calls only GPUs inside processors so."""
    return bool(_integrated_names().search(re.sub(r"\((?:r|tm|c)\)", "", name, flags=re.IGNORECASE)))
