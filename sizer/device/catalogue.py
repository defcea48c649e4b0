"""What a user calls a device, to a `Target`: names, counts, slices, cloud instances, classes, several unlike cards."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile

from sizer.device import table as rows
from sizer.device.clouds import card_of_rental, find_alias, find_class, find_instance
from sizer.device.interconnect import between_devices, to_host
from sizer.device.lookup import Found, find_row
from sizer.device.records import MOST_DEVICES, Device, Instance, Target
from sizer.device.slices import take_slice, virtual_card
from sizer.device.spelling import squash
from sizer.errors import UnknownDevice, UsageError
from sizer.regex import pattern
from sizer.units import GB

LONGEST_NAME = 300
"""More characters are no name of a device."""
# A provider's size within this of the card's is its label, of which the driver shows less.
LABEL_TOLERANCE = 0.001
# Unlike devices that one machine is taken to hold.
MOST_PARTS = 16
# Words that ask for this machine, or for a part of it, as torch spells them.
THIS_MACHINE = frozenset({"this", "local", "auto", "here"})
THIS_PART = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "mps": "gpu", "xpu": "gpu", "rocm": "gpu", "hip": "gpu"}

_COUNT_FIRST = pattern(r"\s*(\d{1,9})\s*(?:[x\u00d7*]\s*(?=\S)|\s+of\s+)(.+)", re.IGNORECASE | re.DOTALL)
_COUNT_LAST = pattern(r"(.+?)(?:\s+[x\u00d7]\s*|\s*[*\u00d7:]\s*|(?<=[\w)])x)(\d{1,9})\s*", re.IGNORECASE | re.DOTALL)
_DUAL = pattern(r"\s*dual\s+(.+)", re.IGNORECASE | re.DOTALL)
_TWO_SOCKETS = pattern(
    r"\s*(?:(?:dual|two|2)[\s-]*(?:socket|processor|cpu)s?\s+(?P<behind>.+)"
    r"|(?P<before>.+?)[\s,]+(?:dual|two|2)[\s-]*(?:socket|processor|cpu)s?\s*)",
    re.IGNORECASE | re.DOTALL,
)
_TOGETHER = (re.compile(r"\s+(?:\+|&|and)\s+", re.IGNORECASE), re.compile(r"\s*[,;]\s*"), re.compile(r"\s*\+\s*"))
_BRACKET = pattern(r"\s*\((?:[^()]*)\)\s*$")


def find(text: str) -> Target:
    """The target that `text` names; its notes say what was assumed.

    Keys, aliases, drivers' strings (`NVIDIA A100-SXM4-80GB`, `AMD EPYC 9654 96-Core Processor`), counts (`2xrtx-4090`),
    MIG slices (`a100-80gb-sxm 1g.10gb`), cloud instances (`aws:g5.xlarge`), classes (`consumer-cpu`), unlike cards
    together (`rtx-3090+rtx-4090`, a CPU among them is the host) and `this`. Raises UnknownDevice.
    """
    cleaned = " ".join(text.split())
    if not cleaned or len(cleaned) > LONGEST_NAME:
        raise UnknownDevice(f"{text[:LONGEST_NAME]!r} is no device.", "'sizer devices' lists them.")
    target = _this_machine(cleaned) or _parse(cleaned) or _as_typed(cleaned)
    if target is None:
        from sizer.device.unknown import unknown_device

        counted = _COUNT_FIRST.fullmatch(cleaned)
        raise unknown_device(cleaned, counted[2] if counted else cleaned, lambda name: _parse(name) or _as_typed(name))
    return replace(target, asked=text)


def _as_typed(text: str) -> Target | None:
    """A device that no name tells: a tool's line, a renter's word, counts in words, memory by its channels."""
    from sizer.device.stated import described
    from sizer.device.typed import readings, system_memory

    memory = system_memory(text)
    if memory is not None:
        plain = described(memory.bandwidth_bytes_per_s, kind="cpu")
        note = f"{memory.name}: {memory.bandwidth_bytes_per_s / GB:.4g} GB/s by arithmetic; --ram says how much it is"
        return replace(plain, device=replace(plain.device, name=memory.name), notes=(note,))
    for other, note in readings(text):
        target = _parse(other) or next((found for deeper, _ in readings(other) if (found := _parse(deeper))), None)
        if target is not None:
            return replace(target, notes=(*([note] if note else []), *target.notes))
    return None


def _this_machine(text: str) -> Target | None:
    word = text.casefold().partition(":")[0]
    if word not in THIS_MACHINE and word not in THIS_PART:
        return None
    from sizer.device.detect import this_target

    return this_target(THIS_PART.get(word, ""))


def _parse(text: str) -> Target | None:
    """One name with its count; else several together; last a CPU that only its family tells. None for other text."""
    return _single(text) or _counted(text) or _without_remark(text) or _together(text) or _unlisted(text)


def _part(text: str) -> Target | None:
    """One of several devices named together, or the name behind a count."""
    return _single(text) or _counted(text) or _without_remark(text) or _unlisted(text)


def _unlisted(text: str) -> Target | None:
    from sizer.device.cpu_generations import find_family
    from sizer.device.naming import find_described

    found = find_described(text) or find_family(text)
    return _target(found) if found else None


def _single(text: str) -> Target | None:
    """One device by an alias, its name, an instance of a cloud, a class, or a slice of a card; None for anything
    else."""
    alias = find_alias(text)
    if alias:
        meaning, reason = alias
        target = _parse(meaning)
        return replace(target, notes=(f"{text!r} is taken as {meaning}: {reason}", *target.notes)) if target else None
    found = virtual_card(text, find_row) or find_row(text)
    if found:
        return _target(found)
    instance = find_instance(text)
    if instance:
        return _rented(instance)
    card = card_of_rental(text)
    if card:
        target = _parse(card)
        return replace(target, notes=(f"{text!r} is taken as {card}", *target.notes)) if target else None
    named = find_class(text)
    if named:
        found = Found(rows.device(rows.by_key()[named.key]))
        note = f"{named.name} is represented by {found.device.name}: {named.source}"
        return _target(found._replace(notes=(note,)))
    found = take_slice(text, find_row)
    return _target(found) if found else None


def _target(found: Found, count: int = 1) -> Target:
    """A target of equal devices with its links."""
    link = between_devices(found.device) if count > 1 else None
    host_link = to_host(found.device)
    return Target(
        device=found.device,
        count=count,
        link=link.name if link else "",
        link_bytes_per_s=link.bytes_per_s if link else None,
        notes=found.notes,
        host_link=host_link.name if host_link else "",
        host_link_bytes_per_s=host_link.bytes_per_s if host_link else None,
    )


def _counted(text: str) -> Target | None:
    """Several equal devices (`2x rtx-3090`, `dual epyc 9654`); None where no count is stated. Raises UsageError for
    too many."""
    first, last, dual = _COUNT_FIRST.fullmatch(text), _COUNT_LAST.fullmatch(text), _DUAL.fullmatch(text)
    sockets = _TWO_SOCKETS.fullmatch(text)
    if sockets:
        number, name = "2", sockets["behind"] or sockets["before"]
    elif dual:
        number, name = "2", dual[1]
    elif first:
        number, name = first.groups()
    elif last:
        name, number = last.groups()
    else:
        return None
    one = _single(name) or _without_remark(name) or _unlisted(name)
    if one is None or one.others:
        return None
    if not 1 <= int(number) * one.count <= MOST_DEVICES:
        raise UsageError(f"{text!r} asks for {number} devices.", f"Ask for 1 to {MOST_DEVICES}.")
    memory_bytes = one.host_memory_bytes * int(number) if one.host_memory_bytes else None
    return replace(repeated(one, int(number) * one.count), host_memory_bytes=memory_bytes)


def _together(text: str) -> Target | None:
    """Several unlike devices of one machine: the first is the target's, CPUs beside accelerators are the host."""
    for separator in _TOGETHER:
        parts = [part for part in separator.split(text) if part]
        if not 2 <= len(parts) <= MOST_PARTS:
            continue
        targets = list(takewhile(bool, map(_part, parts)))
        if len(targets) == len(parts):
            return _joined([target for target in targets if target])
    return None


def _joined(targets: list[Target]) -> Target:
    """Devices of several names as one machine: cards first, a CPU beside cards as their host, the slowest link."""
    cards = [target for target in targets if target.device.kind != "cpu"] or targets
    hosts = [target for target in targets if target not in cards]
    first, *rest = cards
    if all(target.device == first.device for target in rest):
        first = _target(Found(first.device), sum(target.count for target in cards))
        rest = []
    others = tuple(target.device for target in rest for _ in range(target.count))
    links = [link for link in (between_devices(target.device) for target in cards) if link]
    slowest = min(links, key=lambda link: link.bytes_per_s) if others and len(links) == len(cards) else None
    host = hosts[0] if hosts else None
    return replace(
        first,
        link=slowest.name if slowest else first.link,
        link_bytes_per_s=slowest.bytes_per_s if slowest else first.link_bytes_per_s,
        others=others,
        host=host.device if host else first.host,
        host_count=host.count if host else 1,
        host_memory_bytes=host.device.memory_bytes if host else first.host_memory_bytes,
        notes=tuple(dict.fromkeys(note for target in targets for note in target.notes)),
    )


def _without_remark(text: str) -> Target | None:
    """The name without a closing remark in brackets, if that is one: `(8 layers offloaded)`."""
    shorter = _BRACKET.sub("", text)
    if shorter in ("", text):
        return None
    target = _single(shorter) or _counted(shorter)
    remark = text[len(shorter) :].strip()
    return replace(target, notes=(*target.notes, f"the remark {remark!r} is not used")) if target else None


def _rented(instance: Instance) -> Target:
    """A cloud instance: its devices with the memory that they show there, and its host."""
    device = rows.device(rows.by_key()[instance.device_key])
    notes = [f"{instance.cloud}:{instance.name}: {instance.count} x {device.name}"]
    shown, whole = instance.device_memory_bytes, device.memory_bytes
    # A label and what a driver shows of it lie nearer: less than four fifths is a part of the card.
    if shown and whole and shown < 0.8 * whole:
        share = shown / whole
        rate = device.bandwidth_bytes_per_s
        peaks = {name: peak * share for name, peak in device.peak_flops_per_s.items()}
        device = replace(device, bandwidth_bytes_per_s=rate * share if rate else None, peak_flops_per_s=peaks)
        notes.append(f"a {share:.2g} share of the device: bandwidth and compute taken in proportion")
    if shown:
        device = as_shown(device, shown)
    target = _target(Found(device, tuple(notes)), instance.count)
    link = between_devices(device, instance.link) if instance.count > 1 else None
    if link:
        target = replace(target, link=link.name, link_bytes_per_s=link.bytes_per_s)
    return replace(target, host_memory_bytes=instance.host_memory_bytes)


def as_shown(device: Device, shown_bytes: int) -> Device:
    """The device with the memory that its driver or a provider shows: the label's, or less than that."""
    whole = replace(device, memory_bytes=shown_bytes, memory_options_bytes=())
    labelled = device.memory_bytes is not None and abs(shown_bytes / device.memory_bytes - 1) < LABEL_TOLERANCE
    return whole if labelled else replace(whole, memory_basis="driver")


def repeated(target: Target, count: int) -> Target:
    """The target with `count` of its device as it stands (a slice, its memory), and the link between them."""
    many = _target(Found(target.device, target.notes), count)
    return replace(
        many,
        asked=target.asked,
        host=target.host,
        host_count=target.host_count,
        host_memory_bytes=target.host_memory_bytes,
    )


MACS = frozenset({"mac", "macs", "imac", "macbook", "macbooks"})
"""Words for what has an M chip: a computer's name tells no chip, and the table's rows are chips."""
M_CHIPS = "applem"


def search(text: str = "") -> tuple[Device, ...]:
    """The devices of which every word of `text` occurs in the key, name or aliases (`mac` is any M chip too); all for
    no text."""
    words = [squash(word) for word in text.split()]
    if words and not any(words):
        return ()  # signs alone are no word of any name
    blobs = ((number, squash(" ".join(rows.spellings(number)))) for number in range(len(rows.table()[1])))
    return tuple(
        rows.device(number)
        for number, blob in blobs
        if all(word in blob or (word in MACS and M_CHIPS in blob) for word in words)
    )
