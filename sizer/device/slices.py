"""A part of a device: MIG instances and vGPU profiles of NVIDIA GPUs, one die of an MI250."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from sizer.device.lookup import Found
from sizer.device.records import Device
from sizer.device.usable import usable_memory_bytes
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import matches, read_rows
from sizer.units import GIB, MIB

# A profile's memory is that of its slices, rounded: 18 GB for an eighth of 141, 23 for one of 180.
SLICE_TOLERANCE = 0.08
MEMORY_SLICES_TAKEN = (8, 4, 2, 1)
# What each MIG instance keeps where no row of data/mig_profiles.csv tells it: 256 to 512 MiB of the A100's and H100's.
MIG_RESERVE_BYTES = 320 * MIB
# An MI250 board shows as two devices.
DIES = {"mi250": 2, "mi250x": 2}

_MIG = pattern(r"[\s(-]*(?:\bmig[\s-]*)?\b([1-7])g\.(\d{1,3})gb(?:\+me)?\b.*", re.IGNORECASE | re.DOTALL)
_VGPU = pattern(r"[\s-]+(\d{1,3})[qcba]\b.*", re.IGNORECASE | re.DOTALL)
_VGPU_GUEST = pattern(
    r"(?:(?:GRID|NVIDIA|TESLA)\s+)*(?P<card>(?:RTX\s?)?[A-Z]{0,4}\d{1,4}[A-Z]{0,2})-(?:(?P<slices>[1-7])-)?(?P<memory>\d{1,3})(?:Q|C|B|A)(?:ME)?"
    r"(?:\s+MIG\b.*)?",
    re.IGNORECASE,
)
_GCD = pattern(r"[\s(-]*\b(?:1\s*)?gcd\b\)?", re.IGNORECASE)


class Cut(NamedTuple):
    """Into how many slices MIG cuts a card (`data/mig_cards.csv`)."""

    memory_slices: int
    compute_slices: int


def cut_of(device: Device) -> Cut | None:
    """How MIG cuts a card, None where it cannot."""
    for row in read_rows("mig_cards.csv"):
        if any(matches(key, device.key) for key in row["devices"].split()):
            return Cut(int(row["memory_slices"]), int(row["compute_slices"]))
    return None


def take_slice(text: str, find: Callable[[str], Found | None]) -> Found | None:
    """The slice that `text` names after its device (`a100 1g.10gb`, `MI250X (1 GCD)`), None for other text and for a
    profile that no variant of the card has."""
    match = _MIG.search(text)
    if match:
        name, memory_gib = text[: match.start()].strip(), int(match[2])
        cards = _variants(name, memory_gib, find)
        return next((one for card in cards if (one := _instance(card, int(match[1]), memory_gib))), None)
    match = _GCD.search(text)
    whole = find(text[: match.start()].strip()) if match else None
    if whole is None or whole.device.key not in DIES:
        return None
    share = 1 / DIES[whole.device.key]
    memory_bytes = whole.device.memory_bytes
    note = f"one die of {whole.device.name}: half of its memory, bandwidth and compute"
    device = _scaled(whole.device, share, share, int(memory_bytes * share) if memory_bytes else None)
    return Found(replace(device, name=f"{device.name} (1 GCD)"), (*whole.notes, note))


def _variants(name: str, memory_gib: int, find: Callable[[str], Found | None]) -> Iterator[Found]:
    """The card of a name, then its variants whose memory a profile of that size is a part of (`a100 1g.5gb`: 40 GB)."""
    sizes = [f"{name} {memory_gib * 8 // taken}GB" for taken in MEMORY_SLICES_TAKEN]
    for text in (name, *sizes) if name else ():
        found = find(text)
        if found is not None and found.device.vendor == "nvidia":
            yield found


def no_such_slice(text: str, find: Callable[[str], Found | None]) -> str:
    """Why a card cannot be cut as `text` says, empty where it names no slice of a card that is known."""
    match = _MIG.search(text)
    whole = find(text[: match.start()].strip()) if match else None
    if match is None or whole is None or whole.device.vendor != "nvidia":
        return ""
    cut = cut_of(whole.device)
    if cut is None or whole.device.memory_bytes is None:
        return f"{whole.device.name} has no MIG: it cannot be cut into slices."
    slice_gib = -(-whole.device.memory_bytes // (cut.memory_slices * GIB))  # 23 of a B200's 180
    return f"{whole.device.name} has no MIG profile {match[1]}g.{match[2]}gb: its smallest is 1g.{slice_gib}gb."


def is_bare_slice(text: str) -> bool:
    """Whether the text is a MIG profile without its card (a line of `nvidia-smi -L`)."""
    return bool(_MIG.match(text))


def _instance(whole: Found, compute_slices: int, memory_gib: int) -> Found | None:
    """A MIG instance: bandwidth by its memory slices, compute by its compute slices, memory as the profile names it."""
    device, cut = whole.device, cut_of(whole.device)
    if cut is None or device.memory_bytes is None:
        return None
    memory_slices = cut.memory_slices
    taken = round(memory_gib * GIB / device.memory_bytes * memory_slices)
    if not 0 < taken <= memory_slices or compute_slices > cut.compute_slices:
        return None
    if abs(memory_gib * GIB * memory_slices / device.memory_bytes / taken - 1) > SLICE_TOLERANCE:
        return None
    compute = compute_slices / cut.compute_slices
    profile = f"{compute_slices}g.{memory_gib}gb"
    part = _scaled(device, taken / memory_slices, compute, memory_gib * GIB)
    shown, told = usable_memory_bytes(device), _told_bytes(device.key, memory_gib)
    if told or shown is not None:
        by_rule = int((shown or 0) * taken / memory_slices) - MIG_RESERVE_BYTES
        part = replace(part, memory_limit_bytes=min(memory_gib * GIB, told or by_rule))
    note = f"MIG {profile}: {taken}/{memory_slices} of the bandwidth of {device.name}, {compute:.2g} of its compute"
    return Found(replace(part, name=f"{device.name} MIG {profile}"), (*whole.notes, note))


def _told_bytes(key: str, memory_gib: int) -> int | None:
    """What drivers show of a card's profiles with that memory (`data/mig_profiles.csv`); None for others."""
    for row in read_rows("mig_profiles.csv"):
        if row["profile"].endswith(f".{memory_gib}gb") and key.startswith(tuple(row["devices"].split())):
            return int(row["usable_mib"]) * MIB
    return None


def _vgpu(whole: Found | None, memory_gib: int) -> Found | None:
    """A vGPU profile (`A40-24Q`): its frame buffer alone is its own, bandwidth and compute are shared in time."""
    if whole is None or whole.device.vendor != "nvidia" or whole.device.memory_bytes is None:
        return None
    if memory_gib * GIB > whole.device.memory_bytes:
        return None
    memory_bytes = memory_gib * GIB
    device = replace(
        whole.device,
        name=f"{whole.device.name}-{memory_gib}Q",
        memory_bytes=min(memory_bytes, usable_memory_bytes(whole.device) or memory_bytes),
        memory_basis="driver",
        memory_options_bytes=(),
    )
    note = f"a vGPU of {whole.device.name} with {memory_gib} GB: bandwidth and compute as if no other uses the card"
    return Found(device, (*whole.notes, note))


def _scaled(device: Device, bandwidth: float, compute: float, memory_bytes: int | None) -> Device:
    rate = device.bandwidth_bytes_per_s
    return replace(
        device,
        memory_bytes=memory_bytes,
        memory_options_bytes=(),
        bandwidth_bytes_per_s=rate * bandwidth if rate else None,
        peak_flops_per_s={name: peak * compute for name, peak in device.peak_flops_per_s.items()},
        interconnect_bytes_per_s=None,
    )


def virtual_card(text: str, find: Callable[[str], Found | None]) -> Found | None:
    """The card behind a vGPU as its guest names it (`GRID T4-16Q`, `NVIDIA A100-2-10C`, `A40-24C`); None for others.

    A profile with two numbers is a MIG instance; the others share the card's time, and each has its full bandwidth when
    it runs alone. Source: NVIDIA's Virtual GPU Software User Guide, "Virtual GPU Types".
    """
    if "-" not in text and len(text.split()) < 2:
        return None  # a profile stands behind a dash or a space
    match = _VGPU_GUEST.fullmatch(text.strip())
    if match is None:
        match = _VGPU.search(text)
        return _vgpu(find(text[: match.start()].strip()), int(match[1])) if match else None
    name, compute, memory_gib = match["card"], match["slices"], int(match["memory"])
    meaning = next((row["means"] for row in read_rows("vgpu_cards.csv") if row["card"] == name.upper()), name)
    whole = find(meaning)
    if whole is None or whole.device.vendor != "nvidia":
        return None
    return _instance(whole, int(compute), memory_gib) if compute else _vgpu(whole, memory_gib)
