"""How people write devices beyond their names: lines of lspci, counts in words, renters, memory by its channels.

Each reading is another text for the same devices; the usual lookup decides whether it names one. Nothing is read where
no reading does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from sizer.frozen import NamedTuple
from sizer.tables import read_rows

# A DIMM's channel moves 64 bits a transfer; DDR5 calls its halves sub-channels, and counts them no further.
CHANNEL_BYTES = 8
MOST_CHANNELS, MOST_BUS_BITS = 24, 2048

_LSPCI = re.compile(
    r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.\d\s+[^:]+:\s*(.+?)(?:\s*\(rev [0-9a-f]+\))?", re.IGNORECASE
)
_LABELLED = re.compile(
    r"(?:chipset model|chip|model name|graphics|gpu(?: \d+)?|processor|device \d+)\s*:\s*(.+)", re.IGNORECASE
)
_MAC = re.compile(r"(?:mac\S*|imac)\b[^()]*\(([^()]*)\).*", re.IGNORECASE)
_A_MAC = re.compile(r"\bi?(?:mac(?:book)?|pad)\b", re.IGNORECASE)
# The year, and the inches of a screen: `MacBook Pro 16 M4 Max 2024`. Neither tells a chip.
_MAC_SIZE = re.compile(
    r"\b20[12]\d\b|\b(?:1[3-6]|2[147])(?:[.,]\d)?(?:[\s-]?inch(?:es)?\b|[\"\u201d]|(?=\s|$)(?!\s*g))", re.IGNORECASE
)
_LAST_NUMBER = re.compile(r"(.*\w.*?)[\s-]+(\d{1,3})\s*g?", re.IGNORECASE)
_BOX = re.compile(
    r"[\s(,-]*\b(?:(?:as|in|over|via|by|on|an?|with)\s+)*(e-?gpu|thunderbolt(?:\s*[345])?|oculink|usb\s?4)\b[\s)]*",
    re.IGNORECASE,
)
_UUID = re.compile(r"\s*\(uuid:[^)]*\)", re.IGNORECASE)
_REMARKS = re.compile(r"\b(?:lite hash rate|oem|graphics controller)\b", re.IGNORECASE)
_TIMES_LAST = re.compile(r"(.+?)\s*[x\u00d7*]\s*(\d{1,4})")
_COUNT_AND_NAME = re.compile(r"(\d{1,3})\s+(?!gb\b)(\S.*)", re.IGNORECASE)
_MEMORY = re.compile(r"\b(lp)?ddr([345])x?[\s-]*(\d{4,5})(?:\s*mt/s)?\b", re.IGNORECASE)
_CHANNELS = re.compile(
    r"\b(\d{1,2}|single|one|dual|two|quad|four|six|hexa|eight|octa|twelve)[\s-]*channels?\b", re.IGNORECASE
)
_BUS = re.compile(r"\b(\d{2,4})[\s-]*bits?\b", re.IGNORECASE)
_WORDS = {"single": 1, "one": 1, "dual": 2, "two": 2, "quad": 4, "four": 4, "six": 6, "hexa": 6, "eight": 8, "octa": 8}
_WORDS["twelve"] = 12


class SystemMemory(NamedTuple):
    """Memory told by its rate and width: bytes a second by arithmetic, and how it is called."""

    name: str
    bandwidth_bytes_per_s: float


@cache
def _words() -> dict[str, tuple[str, ...]]:
    return {
        row["role"]: tuple(row["words"].split("|" if "|" in row["words"] or row["role"].startswith("rented") else None))
        for row in read_rows("device_words.csv")
    }


def readings(text: str) -> Iterator[tuple[str, str]]:
    """Other texts for what was typed, each with a note on how it was read (empty where nothing was assumed)."""
    yield from _of_a_tool(text)
    yield from _rented(text)
    yield from _counted(text)
    yield from _in_a_box(text)
    yield from _without_unit(text)


def _in_a_box(text: str) -> Iterator[tuple[str, str]]:
    """`rtx 4090 egpu`, `3090 over thunderbolt 4`: the card, in a box of its own."""
    boxed = _BOX.search(text)
    rest = " ".join(_BOX.sub(" ", text).split())
    if boxed and rest:
        alone = "a model whole on one card decodes as in a slot"
        yield rest, f"the link of {boxed[1]!r} is not counted: {alone}, one split with others or the host is slower"


def _without_unit(text: str) -> Iterator[tuple[str, str]]:
    """`a100 40`, `A100 SXM 80`, `4060 ti 16`: the last number as a memory, held against the card's by the lookup."""
    match = _LAST_NUMBER.fullmatch(text)
    if match:
        yield f"{match[1]} {match[2]}GB", f"{match[2]!r} of {text!r} is taken as GB of memory"


def _of_a_tool(text: str) -> Iterator[tuple[str, str]]:
    """A line of lspci, nvidia-smi -L, system_profiler, lscpu: the name in it."""
    line = _LSPCI.fullmatch(text)
    if line:
        names = [name for name in re.findall(r"\[([^\]]+)\]", line[1]) if "/" not in name or " / " in name]
        yield from ((_REMARKS.sub("", name.split(" / ")[0]).strip(), "") for name in reversed(names))
    if _A_MAC.search(text) and (plain := " ".join(_MAC_SIZE.sub(" ", text).split())) != text:
        yield plain, ""
    mac = _MAC.fullmatch(text)
    if mac:  # "MacBook Pro (14-inch, M1 Pro, 2021)": what stands in the bracket
        yield from ((part.strip(), "") for part in mac[1].split(","))
    labelled = _LABELLED.fullmatch(_UUID.sub("", text))
    if labelled:
        yield labelled[1].strip(), ""


def _counted(text: str) -> Iterator[tuple[str, str]]:
    """`3090x2`, `3090 * 4`, `two 3090s`, `quad 3090`, `8 h200`: as `2x 3090`."""
    first, _, rest = text.partition(" ")
    for role, words in _words().items():
        if role.startswith("count ") and first.casefold() in words and rest:
            yield f"{role.removeprefix('count ')}x {_singular(rest)}", ""
    for match, number, name in ((_TIMES_LAST.fullmatch(text), 2, 1), (_COUNT_AND_NAME.fullmatch(text), 1, 2)):
        if match:
            yield f"{match[number]}x {_singular(match[name])}", ""
    if text.casefold().endswith("s"):
        yield _singular(text), ""


def _singular(name: str) -> str:
    return re.sub(r"(?<=\d)s\b", "", name.strip())


def _rented(text: str) -> Iterator[tuple[str, str]]:
    """A cloud's or a renter's word before the instance or the card."""
    lowered = text.casefold()
    for role, words in _words().items():
        if not role.startswith(("cloud ", "renter")):
            continue
        for word in sorted(words, key=len, reverse=True):
            rest = lowered.removeprefix(word).strip(" :-")
            if not lowered.startswith(word) or rest in ("", lowered) or lowered[len(word)] not in " :-":
                continue
            if role.startswith("cloud "):
                yield f"{role.removeprefix('cloud ')}:{rest}", ""
            own = _words().get(f"rented {word.removeprefix('google ')} {rest}")
            yield (own[0] if own else rest), f"{text!r} is read as {own[0] if own else rest}, rented"
            return


def system_memory(text: str) -> SystemMemory | None:
    """`DDR5-5600 dual channel`, `LPDDR5X-8533 256-bit`: transfers a second times the bytes of each; None for others.

    Without channels or bus width there is nothing to multiply: None.
    """
    kind, channels, bus = _MEMORY.search(text), _CHANNELS.search(text), _BUS.search(text)
    if kind is None or not (channels or bus):
        return None
    rest = _BUS.sub(" ", _CHANNELS.sub(" ", _MEMORY.sub(" ", text)))
    if re.sub(r"\b(?:memory|ram|system|in|with|cpu|of|mode|desktop)\b|[\s,()+-]", "", rest.casefold()):
        return None
    number = channels[1].casefold() if channels else ""
    count = _WORDS.get(number) or (int(number) if number else 0)
    width_bytes = int(bus[1]) / 8 if bus else count * CHANNEL_BYTES
    if not 0 < width_bytes <= MOST_BUS_BITS / 8 or count > MOST_CHANNELS:
        return None
    wide = f"{count} channels of" if channels and not bus else f"{bus[1]} bits of" if bus else ""
    name = f"{wide} {(kind[1] or '').upper()}DDR{kind[2]}-{kind[3]}"
    return SystemMemory(name, width_bytes * int(kind[3]) * 1e6)
