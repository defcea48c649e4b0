"""A device's name as words: what identifies it, what only describes it, and the figures that it states.

Two spellings name the same part when their identifying words are the same set (`core`) and nothing that one of them
states (memory, form factor, GPU cores) contradicts the other. Words are never matched by a part of them: `a1000` is not
`a100`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


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
    "msi asus gigabyte zotac evga pny palit gainward sapphire xfx powercolor gaming oc"
)
# Words inside brackets that still tell variants apart; the rest of a bracket is a remark.
BRACKET_WORDS = _set(
    "laptop maxq super ti xt xtx gre pcie sxm sxm2 sxm3 sxm4 sxm5 sxm6 nvl ada server pascal cpu npu plus v2 gcd"
)

# Spellings of the same words, tried in this order on the folded text.
_REWRITES = (
    (r"\((?:r|tm|c)\)|[®™©]", " "),
    (r"@?\s*\b\d+(?:\.\d+)?\s*ghz\b", " "),
    (r"\b(?:w/|with)\s*(?:amd\s+)?radeon\b.*", " "),
    (r"\bgrace[ -](?:hopper|blackwell)(?:[ -]superchip)?\b", " "),
    (r"\b(?:macbook[ -](?:pro|air)|macbook neo|mac[ -](?:studio|mini|pro)|macbooks?|imac|macs?)\b", " apple "),
    (r"\b\d+(?:st|nd|rd|th) gen(?:eration)?\b(?=.*\bcore\b)", " "),
    (r"\bdata\s?cent(?:er|re)\b", " "),
    (r"\btensor cores?\b|\bextreme edition\b|\b(?:eng\.? )?sample\b", " "),
    (r"\bneoverse[ -]?[a-z]\d\b.*|\boryon\b", " "),
    (r"\bmodel b(?: plus)?(?: rev [\d.]+)?\b|\brev [\d.]+", " "),
    (r"\bmax[ -]q\b", " maxq "),
    (r"\b(?:mobile|notebook|laptop)(?: gpu)?\b", " laptop "),
    (r"\b(?:max-?q )?with max-?q design\b", " maxq "),
    (r"\brtx[ -]?(\d{4})( ?ti)?m\b", r" rtx \1 \2 laptop "),
    (r"\b(rtx|gtx|rx|epyc|ryzen|core|ultra|i[3579]|xeon|quadro|titan)(\d|[a-z]\d)", r" \1 \2"),
    (r"\b(radeon|arc|tesla|geforce)(\d|[a-z]\d)", r" \1 \2"),
    (r"\brtxpro\b|\brtx[ -]?pro(?=\d)", " rtx pro "),
    (r"\bcore[ -]ultra[ -](?:x)?([579])\b|\bultra[ -]x?([579])\b", r" core ultra\1\2 "),
    (r"\bryzen[ -]threadripper(?:[ -]pro)?\b|\bthreadripper[ -]pro\b", " threadripper "),
    (r"\bryzen[ -]([3579])(?:[ -]pro)?\b", r" ryzen ryzen\1 "),
    (r"\br([3579])(?=[ -]\d{4})", r" ryzen ryzen\1 "),
    (r"\bryzen[ -]ai[ -]([3579])\b", r" ryzen ryzen\1 ai "),
    (r"\bxeon[ -]6\b(?=.*\d{4}[pe])", " xeon "),
    (r"\btitan[ -]?rtx\b", " titanrtx "),
    (r"\bradeon[ -]pro[ -](?=[wvx]\d)|\bpro[ -](?=[wv]\d{3,4}\b)", " radeon "),
    (r"\brtx[ -](\d000)[ -]?pro\b", r" rtx pro \1 "),
    (r"\b(\d{3,4})(ti ?super|ti|super|xtx|xt|gre|d|ada|maxq|laptop)\b", r" \1 \2 "),
    (r"\bti ?super\b", " ti super "),
    (r"\b(graviton|gaudi|trainium|inferentia|grace|cobalt)[ -](?=\d)", r" \1"),
    (r"\b(e[357]-\d{4}[a-z]?)(v\d)\b", r"\1 \2"),
    (r"\b(orin|thor|xavier)(nx|nano|agx)\b", r" \1 \2 "),
    (r"\bmi[ -](\d{2,3}[ax]?)\b", r" mi\1 "),
    (r"\+", " plus "),
)  # fmt: skip
_RATE = re.compile(r"~?(\d+(?:\.\d+)?)\s*gb/s(\s*triad)?")
_GPU_CORES = re.compile(r"\b(\d+)[ -]core gpu\b|(?<=[ -])(\d{1,2})c\b")
_CORES = re.compile(r"\b(\d+)[ -]cores?(?: processor)?s?\b(?: cpu\b)?|\b\d+x cortex[ -]\w+")
_MEMORY = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d+)?)\s*gi?b\b|(?<![\w.])(\d{1,3})g\b")
_MEMORY_TYPE = re.compile(r"\b(hbm\d?e?|gddr\d\w?|lpddr\d\w?|ddr\d\w?)(?:[ -](\d{4,5}))?\b")
_CHANNELS = re.compile(r"\b(\d{1,2})[ -]?ch(?:annels?)?\b")
_BRACKET = re.compile(r"\(([^()]*)\)")
_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
_SQUASH = re.compile(r"[^a-z0-9+]+")


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


def folded(text: str) -> str:
    """The text in the words of this module, as one string: what the patterns of CPU families are matched with."""
    text = text.casefold().replace("_", " ")
    for pattern, replacement in _rewrites():
        text = pattern.sub(replacement, text)
    return text


@cache
def _rewrites() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled when a name is first taken apart: a key needs none of it."""
    return tuple((re.compile(pattern), replacement) for pattern, replacement in _REWRITES)


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
