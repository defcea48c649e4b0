"""A device's name as words: what identifies it, what only describes it, and the figures that it states.

Two spellings name the same part when their identifying words are the same set (`core`) and nothing that one of them
states (memory, form factor, GPU cores) contradicts the other. Words are never matched by a part of them: `a1000` is not
`a100`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sizer.frozen import NamedTuple
from sizer.regex import pattern


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words of a vendor or a product line. They may be left out, but must not contradict the device.
VENDOR_WORDS = {
    "nvidia": "nvidia", "geforce": "nvidia", "quadro": "nvidia", "tesla": "nvidia", "amd": "amd", "ati": "amd",
    "intel": "intel", "apple": "apple", "aws": "aws", "amazon": "aws", "google": "google", "qualcomm": "qualcomm",
    "huawei": "huawei", "rockchip": "rockchip", "microsoft": "microsoft", "azure": "microsoft", "arm": "arm",
}  # fmt: skip
LINE_WORDS = _set(
    "rtx gtx rx radeon instinct ryzen ryzen3 ryzen5 ryzen7 ryzen9 threadripper epyc xeon platinum gold silver bronze "
    "core i3 i5 i7 i9 ultra5 ultra7 ultra9 w3 w5 w7 w9 arc jetson ampere altra tpu ascend snapdragon"
)
NOISE_WORDS = _set(
    "gpu gpus graphics card processor generation edition workstation blackwell hopper lovelace turing volta "
    "accelerator developer development kit devkit engineering reference module design oem founders fe device devices "
    "series hgx desktop soc oam vf the with w mhz cap socket sockets chip node corporation inc co ltd technologies "
    "msi asus samsung gigabyte zotac evga pny palit gainward sapphire xfx powercolor gaming oc "
    "rog tuf trio ventus suprim ftw3 aorus eagle windforce gamerock nitro pulse hellhound merc"
)
ENDINGS = _set("pro max ultra plus mini super laptop mobile ti xt xtx edge gb gpu cpu apu npu")
"""Words that tell a variant, of whichever line."""
# Words inside brackets that still tell variants apart; the rest of a bracket is a remark.
BRACKET_WORDS = _set(
    "laptop maxq super ti xt xtx gre pcie sxm sxm2 sxm3 sxm4 sxm5 sxm6 nvl ada server pascal cpu npu plus v2 gcd"
)

# Spellings of the same words, tried in this order on the folded text: the texts of which one must stand in it (none:
# any text), which spares compiling most for one name; what is looked for; what takes its place.
REWRITES = (
    ("( ® ™ ©", r"\((?:r|tm|c)\)|[®™©]", " "),
    ("ghz", r"@?\s*\b\d+(?:\.\d+)?\s*ghz\b", " "),
    ("radeon", r"\b(?:w/|with)\s*(?:amd\s+)?radeon\b.*", " "),
    ("grace", r"\bgrace[ -](?:hopper|blackwell)(?:[ -]superchip)?\b", " "),
    ("mac", r"\b(?:macbook[ -](?:pro|air)|macbook neo|mac[ -](?:studio|mini|pro)|macbooks?|imac|macs?)\b", " apple "),
    ("air mini studio", r"\b(m\d(?: (?:pro|max|ultra))?) (?:air|mini|studio)\b", r" apple \1 "),
    ("air mini studio", r"\b(?:air|mini|studio) (m\d)\b", r" apple \1 "),
    ("ipad", r"\bipad(?:[ -](?:pro|air))?\b", " apple "),
    ("gen", r"\b\d+(?:st|nd|rd|th) gen(?:eration)?\b(?=.*\bcore\b)", " "),
    ("cent", r"\bdata\s?cent(?:er|re)\b", " "),
    ("tensor extreme sample", r"\btensor cores?\b|\bextreme edition\b|\b(?:eng\.? )?sample\b", " "),
    ("neoverse oryon", r"\bneoverse[ -]?[a-z]\d\b.*|\boryon\b", " "),
    ("model rev", r"\bmodel b(?: plus)?(?: rev [\d.]+)?\b|\brev [\d.]+", " "),
    ("max", r"\bmax[ -]q\b", " maxq "),
    ("mobile notebook laptop", r"\b(?:mobile|notebook|laptop)(?: gpu)?\b", " laptop "),
    ("design", r"\b(?:max-?q )?with max-?q design\b", " maxq "),
    ("rtx", r"\brtx[ -]?(\d{4})( ?ti)?m\b", r" rtx \1 \2 laptop "),
    ("rtx gtx rx epyc ryzen core ultra i3 i5 i7 i9 xeon quadro titan",
     r"\b(rtx|gtx|rx|epyc|ryzen|core|ultra|i[3579]|xeon|quadro|titan)(\d|[a-z]\d)", r" \1 \2"),
    ("radeon arc tesla geforce", r"\b(radeon|arc|tesla|geforce)(\d|[a-z]\d)", r" \1 \2"),
    ("rtx", r"\brtxpro\b|\brtx[ -]?pro(?=\d)", " rtx pro "),
    ("ultra", r"\bcore[ -]ultra[ -](?:x)?([579])\b|\bultra[ -]x?([579])\b", r" core ultra\1\2 "),
    ("threadripper", r"\bryzen[ -]threadripper(?:[ -]pro)?\b|\bthreadripper[ -]pro\b", " threadripper "),
    ("ryzen", r"\bryzen[ -]([3579])(?:[ -]pro)?\b", r" ryzen ryzen\1 "),
    ("r3 r5 r7 r9", r"\br([3579])(?=[ -]\d{4})", r" ryzen ryzen\1 "),
    ("ryzen", r"\bryzen[ -]ai[ -]([3579])\b", r" ryzen ryzen\1 ai "),
    ("xeon", r"\bxeon[ -]6\b(?=.*\d{4}[pe])", " xeon "),
    ("titan", r"\btitan[ -]?rtx\b", " titanrtx "),
    ("radeon pro", r"\bradeon[ -]pro[ -](?=[wvx]\d)|\bpro[ -](?=[wv]\d{3,4}\b)", " radeon "),
    ("rtx", r"\brtx[ -](\d000)[ -]?pro\b", r" rtx pro \1 "),
    ("", r"\b(\d{3,4})(ti ?super|ti|super|xtx|xt|gre|d|ada|maxq|laptop)\b", r" \1 \2 "),
    ("super", r"\bti ?super\b", " ti super "),
    ("graviton gaudi trainium inferentia grace cobalt",
     r"\b(graviton|gaudi|trainium|inferentia|grace|cobalt)[ -](?=\d)", r" \1"),
    ("e3- e5- e7-", r"\b(e[357]-\d{4}[a-z]?)(v\d)\b", r"\1 \2"),
    ("orin thor xavier", r"\b(orin|thor|xavier)(nx|nano|agx)\b", r" \1 \2 "),
    ("mi", r"\bmi[ -](\d{2,3}[ax]?)\b", r" mi\1 "),
    ("+", r"\+", " plus "),
)  # fmt: skip
FIGURE_MARKS = ("g", "c", "ddr", "hbm")
"""What every figure has one of: gb, cores and channels, the kind of memory."""
_RATE = pattern(r"~?(\d+(?:\.\d+)?)\s*gb/s(\s*triad)?")
_GPU_CORES = pattern(r"\b(\d+)[ -]core gpu\b|(?<=[ -])(\d{1,2})c\b")
_CORES = pattern(r"\b(\d+)[ -]cores?(?: processor)?s?\b(?: cpu\b)?|\b\d+x cortex[ -]\w+")
_MEMORY = pattern(r"(?<![\w.])(\d{1,4}(?:\.\d+)?)\s*gi?b\b|(?<![\w.])(\d{1,3})g\b")
_MEMORY_TYPE = pattern(r"\b(hbm\d?e?|gddr\d\w?|lpddr\d\w?|ddr\d\w?)(?:[ -](\d{4,5}))?\b")
_CHANNELS = pattern(r"\b(\d{1,2})[ -]?ch(?:annels?)?\b")
_BRACKET = pattern(r"\(([^()]*)\)")
_WORD = pattern(r"[a-z0-9]+(?:\.[0-9]+)?")
_SQUASH = pattern(r"[^a-z0-9+]+")
_SQUASH_BUT_LINES = pattern(r"[^a-z0-9+\n]+")


class Facts(NamedTuple):
    """The figures that a spelling states."""

    memory_gib: float | None = None
    memory_type: str = ""
    memory_mts: int | None = None
    channels: int | None = None
    bandwidth_gbs: float | None = None
    measured: bool = False
    gpu_cores: int | None = None
    cores: int | None = None


class Spelling(NamedTuple):
    """One spelling taken apart: `core` identifies, `form` is sxm… or pcie, `part` is cpu or npu."""

    core: frozenset[str]
    vendors: frozenset[str]
    lines: frozenset[str]
    form: str
    part: str
    facts: Facts


NOTHING_STATED = Spelling(frozenset(), frozenset(), frozenset(), "", "", Facts())


def squash(text: str) -> str:
    """The text without case, spaces and punctuation: `RTX 4090` and `rtx-4090` are one; `+` stays (`6438Y+`)."""
    return _SQUASH.sub("", text.casefold())


def squash_lines(texts: Iterable[str]) -> list[str]:
    """Each text squashed, all in one pass: the whole table's spellings are read for one name."""
    return _SQUASH_BUT_LINES.sub("", "\n".join(texts).casefold()).split("\n")


def share_a_word(text: str, name: str) -> bool:
    """Whether two spellings share a number or a word, or nearly a word of four letters: what else is near by chance.
    What many names end with (`pro`, `laptop`) does not count."""
    from difflib import get_close_matches

    asked, offered = (
        [word for word in re.findall(r"[a-z]+|[0-9]+", one.lower()) if word not in ENDINGS] for one in (text, name)
    )
    if asked[:1] == offered[:1] or {word for word in asked if len(word) > 1} & set(offered):
        return True
    words = [word for word in offered if len(word) > 3 and word.isalpha()]
    return any(get_close_matches(word, words, 1, 0.75) for word in asked if len(word) > 3 and word.isalpha())


def folded(text: str) -> str:
    """The text in the words of this module, as one string: what the patterns of CPU families are matched with."""
    text = text.casefold().replace("_", " ")
    for needed, found, replacement in REWRITES:
        if not needed or any(word in text for word in needed.split()):
            text = re.sub(found, replacement, text)
    return text


def spell(text: str) -> Spelling:
    """Take one spelling apart; never raises."""
    text, facts = _facts(folded(text))
    words, remarks = _words(text)
    core, vendors, lines = set(), set(), set()
    form = part = ""
    for word in (*words, *(remark for remark in remarks if remark in BRACKET_WORDS)):
        if word in VENDOR_WORDS:
            vendors.add(VENDOR_WORDS[word])
        elif word in LINE_WORDS:
            lines.add(word)
        elif word == "pcie" or word.startswith("sxm"):
            form = word
        elif word in {"cpu", "npu"}:
            part = word
        elif word not in NOISE_WORDS:
            # A word twice is two devices, not one.
            core.add(f"{word}#" if word in core else word)
    return Spelling(frozenset(core), frozenset(vendors), frozenset(lines), form, part, facts)


def _facts(text: str) -> tuple[str, Facts]:
    """The figures that the text states, and the text without them."""
    if not any(mark in text for mark in FIGURE_MARKS):
        return text, Facts()
    text, rate = _take(_RATE, text)
    text, gpu_cores = _take(_GPU_CORES, text)
    cores = _CORES.search(text)
    text = _CORES.sub(" ", text)
    text, kind = _take(_MEMORY_TYPE, text)
    text, memory = _take(_MEMORY, text)
    again = _MEMORY.search(text)
    if memory and again and again[0].replace(" ", "") == memory[0].replace(" ", ""):
        text, _ = _take(_MEMORY, text)  # a size said twice: "rtx-3060-12gb 12 GB"
    text, channels = _take(_CHANNELS, text)
    return text, Facts(
        memory_gib=float(memory[1] or memory[2]) if memory else None,
        memory_type=kind[1] if kind else "",
        memory_mts=int(kind[2]) if kind and kind[2] else None,
        channels=int(channels[1]) if channels else None,
        bandwidth_gbs=float(rate[1]) if rate else None,
        measured=bool(rate and rate[2]),
        gpu_cores=int(gpu_cores[1] or gpu_cores[2]) if gpu_cores else None,
        cores=int(cores[1]) if cores and cores[1] else None,
    )


def _take(pattern: re.Pattern[str], text: str) -> tuple[str, re.Match[str] | None]:
    """The first match of a pattern, and the text without it."""
    match = pattern.search(text)
    return (text[: match.start()] + " " + text[match.end() :], match) if match else (text, None)


def _words(text: str) -> tuple[list[str], list[str]]:
    """The words outside brackets, and those inside."""
    remarks = [word for inside in _BRACKET.findall(text) for word in _WORD.findall(inside)]
    return _WORD.findall(_BRACKET.sub(" ", text)), remarks
