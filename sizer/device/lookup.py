"""One device's name to its row: exact spellings first, then by words. Never by a part of a word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from sizer.device import table as rows
from sizer.device.chip_parts import UNIFIED_KINDS, cpu_part, npu_part
from sizer.device.records import Device, Target, is_cpu
from sizer.device.spelling import NOTHING_STATED, Facts, Spelling, spell, squash, squash_lines
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import read_rows
from sizer.units import GB, GIB

# Drivers show a few percent less or more than the label (ECC, 180 or 192 GB of a B200).
MEMORY_TOLERANCE = 0.07
# Between two memory variants of a card lie at least 7 %; between a label and its clock at most 3 %.
CLOCK_TOLERANCE = 0.03
BYTES_PER_TRANSFER = 8

_DIGITS = pattern(r"[a-z]*\d+[a-z0-9]*")
_YEAR = pattern(r"20[0-3]\d")


class Found(NamedTuple):
    """A device, and what was assumed to find it."""

    device: Device
    notes: tuple[str, ...] = ()


@cache
def _exact() -> dict[str, tuple[int, ...]]:
    """Rows by squashed spelling; a driver's string can belong to several."""
    owned = [(number, text) for number in range(len(rows.table()[1])) for text in rows.spellings(number)]
    found: dict[str, tuple[int, ...]] = {}
    for (number, _), name in zip(owned, squash_lines(text for _, text in owned), strict=True):
        if number not in found.get(name, ()):
            found[name] = (*found.get(name, ()), number)
    return found


def _near(numbers: tuple[int, ...], bytes_per_s: float) -> tuple[int, ...]:
    """The rows of about that bandwidth."""
    rates = ((number, rows.device(number).bandwidth_bytes_per_s) for number in numbers)
    return tuple(number for number, rate in rates if rate and abs(rate / bytes_per_s - 1) <= CLOCK_TOLERANCE)


@cache
def _spelled(number: int) -> tuple[Spelling, ...]:
    return tuple(spell(text) for text in rows.spellings(number))


def find_row(text: str, clock_bytes_per_s: float | None = None) -> Found | None:
    """The device of one name, None where no row has it. Ambiguous names take the common variant and say so.

    `clock_bytes_per_s` is the bandwidth that the driver's memory clock and bus width make: it picks among variants.
    """
    key = text.casefold().strip()
    if key in rows.by_key():
        return _finished(text, NOTHING_STATED, (rows.by_key()[key],))
    asked = spell(text)
    numbers = _exact().get(squash(text), ())
    candidates = _by_words(asked)
    if len(numbers) == 1 and not asked.facts.cores:
        if not _is_driver_name(asked, numbers[0]):
            numbers += tuple(number for number in candidates if number not in numbers)
        return _finished(text, asked, numbers, preferred=numbers[0])
    candidates = numbers + tuple(number for number in candidates if number not in numbers)
    if clock_bytes_per_s:
        candidates = _near(candidates, clock_bytes_per_s) or candidates
    return _finished(text, asked, candidates) if candidates else _modded(asked)


def _modded(asked: Spelling) -> Found | None:
    """A card that workshops refit with more memory (`data/modded_cards.csv`), None for other text."""
    for row in read_rows("modded_cards.csv") if asked.facts.memory_gib else ():
        if float(row["memory_gib"]) != asked.facts.memory_gib:
            continue
        number = rows.by_key()[row["key"]]
        plain = asked._replace(facts=asked.facts._replace(memory_gib=rows.device(number).memory_bytes / GIB))  # type: ignore[operator]
        if _matches(plain, number):
            device = rows.device(number)
            memory_bytes = int(asked.facts.memory_gib * GIB)
            note = f"{device.name} refitted with {row['memory_gib']} GB: speed taken as the original's"
            return Found(replace(device, memory_bytes=memory_bytes), (note,))
    return None


def _by_words(asked: Spelling) -> tuple[int, ...]:
    """Rows of which some spelling has the same identifying words, and none of whose facts is contradicted."""
    if not asked.core or (_is_a_year(asked.core) and asked.vendors <= {"apple"} and not asked.lines):
        return ()
    # Only rows that contain the longest word with a digit can match: spares taking 600 rows apart.
    probe = max(asked.core, key=lambda word: (bool(_DIGITS.fullmatch(word)), len(word)))
    found = []
    for number, row in enumerate(rows.table()[1]):
        text = f"{row[0]} {row[1]} {row[2]}".casefold()
        if (probe in text or probe in text.replace(" ", "")) and _matches(asked, number):
            found.append(number)
    return tuple(found)


def _is_a_year(words: frozenset[str]) -> bool:
    """`imac 2019`: a year alone tells no chip."""
    return all(_YEAR.fullmatch(word) for word in words)


def _matches(asked: Spelling, number: int) -> bool:
    spelled = _spelled(number)
    if not any(asked.core == one.core for one in spelled):
        return False
    header, table = rows.table()
    row = dict(zip(header, table[number], strict=True))
    vendors = {row["vendor"]}.union(*(one.vendors for one in spelled))
    lines: frozenset[str] = frozenset().union(*(one.lines for one in spelled))
    return (
        asked.vendors <= vendors
        and asked.lines <= lines
        and _form_agrees(asked.form, {one.form for one in spelled if one.form})
        and _memory_agrees(asked.facts, row)
        and _cores_agree(asked.facts, {one.facts.gpu_cores for one in spelled if one.facts.gpu_cores})
        and (not asked.part or row["kind"] in UNIFIED_KINDS or row["kind"] == asked.part)
    )


def _form_agrees(asked: str, known: set[str]) -> bool:
    return not asked or not known or any(form == asked or (asked == "sxm" and form.startswith(asked)) for form in known)


def _cores_agree(asked: Facts, known: set[int | None]) -> bool:
    return not asked.gpu_cores or not known or asked.gpu_cores in known


def _memory_agrees(asked: Facts, row: dict[str, str]) -> bool:
    """Whether the stated size and type can be this row's. System memory (CPUs) and open configurations can be any."""
    graphics_memory = asked.memory_type.startswith(("hbm", "gddr"))
    if graphics_memory and row["mem_type"] and row["mem_type"].casefold() != asked.memory_type:
        return False
    if asked.memory_gib == 0:
        return False
    if asked.memory_gib is None or not row["memory_gb"]:
        return True
    if "/" in row["memory_gb"]:  # a Mac's memory is soldered: no other sizes than it is sold with
        sold = [float(size) for size in row["memory_gb"].split("/")]
        return row["vendor"] != "apple" or any(abs(size / asked.memory_gib - 1) <= MEMORY_TOLERANCE for size in sold)
    return abs(float(row["memory_gb"]) / asked.memory_gib - 1) <= MEMORY_TOLERANCE


def _finished(text: str, asked: Spelling, numbers: tuple[int, ...], preferred: int | None = None) -> Found:
    """The chosen row with the figures that the text states, and what was assumed."""
    chosen = preferred if preferred is not None else max(numbers, key=lambda number: _preference(number, asked))
    notes = []
    if len(numbers) > 1:
        others = ", ".join(repr(rows.table()[1][number][0]) for number in numbers if number != chosen)
        notes.append(
            f"{text!r} is taken as {rows.table()[1][chosen][1]} ({rows.table()[1][chosen][0]}); also: {others}"
        )
    return with_facts(Found(rows.device(chosen), tuple(notes)), asked)


def _preference(number: int, asked: Spelling) -> tuple[bool, bool, bool, float, int]:
    """The variant that a bare name means: the one that owns the bare spelling, a desktop card, the larger memory.

    A bare `32-core` of an Apple chip is its GPU's where a variant has as many.
    """
    cores = asked.facts.cores is not None and asked.facts.cores in {one.facts.gpu_cores for one in _spelled(number)}
    bare = (text for one, text in _texts(number) if one.core == asked.core and not _qualified(one))
    own = any(_exact()[squash(text)] == (number,) for text in bare)
    laptop = any("laptop" in one.core or "maxq" in one.core for one in _spelled(number))
    return cores, own, not laptop, rows.device(number).memory_bytes or 0, -number


def _is_driver_name(asked: Spelling, number: int) -> bool:
    """Whether a spelling of one row alone is what NVIDIA's driver prints: it leaves no variant open."""
    return rows.device(number).vendor == "nvidia" and "nvidia" in asked.vendors


def _texts(number: int) -> tuple[tuple[Spelling, str], ...]:
    return tuple(zip(_spelled(number), rows.spellings(number), strict=True))


def _qualified(spelling: Spelling) -> bool:
    return bool(spelling.form or spelling.facts.memory_gib or spelling.facts.memory_type or spelling.facts.gpu_cores)


def with_facts(found: Found, asked: Spelling) -> Found:
    """The device with what the text states of it: memory bought, DIMMs installed, bandwidth measured, cores."""
    device, notes = found.device, list(found.notes)
    facts = asked.facts
    if facts.memory_gib is not None and (device.memory_options_bytes or device.kind == "cpu"):
        device = replace(device, memory_bytes=int(facts.memory_gib * GIB), memory_options_bytes=())
    elif device.memory_options_bytes:
        notes.append(sizes_note(device))
    if asked.part == "cpu" and device.kind in UNIFIED_KINDS:
        device = cpu_part(device)
        notes.append("the CPU alone: the chip's memory bandwidth, of which its CPU may reach less")
    elif asked.part == "npu" and device.kind in UNIFIED_KINDS:
        device = npu_part(device)
        notes.append("the NPU alone: the chip's memory bandwidth; its compute is not known")
    if facts.cores and device.kind == "cpu":
        device = replace(device, cores=facts.cores)
    rate, note = _stated_bandwidth(device, facts)
    if rate:
        device = replace(device, bandwidth_bytes_per_s=rate, bandwidth_basis="measured" if facts.measured else "stated")
        notes.append(note)
    return Found(device, tuple(notes))


def sizes_note(device: Device) -> str:
    """That a chip is sold with several memories, of which the largest is assumed; empty for one that is not."""
    sizes = [f"{size / GIB:g}" for size in device.memory_options_bytes]
    if not sizes:
        return ""
    example = f"'{device.key} {sizes[0]}GB'"
    return f"{device.name} is sold with {'/'.join(sizes)} GB: the largest is assumed (name one: {example})"


def without_sizes_note(notes: Iterable[str], device: Device) -> tuple[str, ...]:
    """What was assumed of a device whose memory is known: nothing of its size."""
    return tuple(note for note in notes if note != sizes_note(device))


def with_system_memory(target: Target, memory_bytes: int) -> Target:
    """The target on a machine with that memory (`--ram`): a CPU and a chip that shares it with it have no other.

    A size that `--memory` gave or a driver told of the chip stands.
    """
    device = target.device
    if (is_cpu(device) or device.kind in UNIFIED_KINDS) and not device.memory_basis:
        notes = without_sizes_note(target.notes, device)
        own_bytes = memory_bytes // target.count if is_cpu(device) else memory_bytes
        device = replace(device, memory_bytes=own_bytes, memory_options_bytes=())
        target = replace(target, device=device, notes=notes)
    return replace(target, host_memory_bytes=memory_bytes)


def _stated_bandwidth(device: Device, facts: Facts) -> tuple[float | None, str]:
    """Bandwidth from a rate in the text, or from its memory speed times the device's channels."""
    if facts.bandwidth_gbs:
        return facts.bandwidth_gbs * GB, f"bandwidth as stated: {facts.bandwidth_gbs:g} GB/s"
    if facts.memory_mts and device.mem_channels and device.kind == "cpu" and facts.memory_mts != device.mem_mts:
        rate = device.mem_channels * facts.memory_mts * 1e6 * BYTES_PER_TRANSFER
        stated = f"{device.mem_channels} channels of {facts.memory_type.upper()}-{facts.memory_mts}"
        return rate, f"bandwidth of the stated memory: {stated} = {rate / GB:.4g} GB/s"
    return None, ""
