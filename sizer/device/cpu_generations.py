"""CPUs that the table does not list: the generation is in the part number, and with it the memory that it can have."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from sizer.device import table as rows
from sizer.device.lookup import Found, with_facts
from sizer.device.records import Device
from sizer.device.spelling import folded, spell, squash
from sizer.regex import pattern
from sizer.tables import read_rows

# Names of clouds may stand beside a CPU's vendor.
CLOUD_VENDORS = frozenset({"aws", "google", "microsoft"})
# A text that names an accelerator is no CPU, whatever number it contains.
_BRACKET = pattern(r"\([^()]*\)")
# What a saved row adds to a family's key: `epyc-9005 2-core 46 GB/s triad`.
_FACTS = pattern(r"\s+(?=\d+-core\b|\d+(?:\.\d+)?(?: GB/s|GB\b))")
_ACCELERATOR = pattern(r"\b(?:rtx|gtx|rx|geforce|quadro|tesla|instinct|arc|gaudi|tpu)\b")


@cache
def _families() -> tuple[dict[str, str], ...]:
    return tuple(read_rows("cpu_families.csv"))


def find_family(text: str) -> Found | None:
    """A CPU by its family: the official maximum memory of its generation, its compute unknown. None for other text."""
    words = re.sub(r"\s+", " ", folded(text))
    vendors = spell(text).vendors - CLOUD_VENDORS
    if _ACCELERATOR.search(_BRACKET.sub(" ", words)) or len(vendors) > 1:
        return None
    for row in _families():
        if squash(row["key"]) == squash(_FACTS.split(text, maxsplit=1)[0]):
            return _member(row, row["name"], text)
        like = rows.device(rows.by_key()[row["like"]])
        if vendors <= {like.vendor} and re.search(row["pattern"], words):
            return _member(row, text.strip(), text)
    return None


def _member(row: dict[str, str], name: str, text: str) -> Found:
    from sizer.device.cpu_cores import cores_of

    like = rows.device(rows.by_key()[row["like"]])
    device = _unlisted(like, row, name)
    part = cores_of(like.vendor, text)
    if part is not None:
        device = replace(device, cores=part.total)
    note = (
        f"{text!r} is not in the table: memory bandwidth as {row['name']}, like {like.name}; its compute is not known"
    )
    return with_facts(Found(device, (note,)), spell(text))


def _unlisted(like: Device, row: dict[str, str], name: str) -> Device:
    """A part of the family: what the generation fixes is taken over, what the part decides is left open."""
    return replace(
        like,
        key=row["key"],
        name=name,
        kind="cpu" if like.kind == "cpu" else like.kind,
        peak_flops_per_s={},
        cores=None,
        tdp_w=None,
        release_year=None,
        price_usd_launch=None,
        source=row["source"],
    )


def family_keys() -> tuple[str, ...]:
    """The keys of all families."""
    return tuple(row["key"] for row in _families())
