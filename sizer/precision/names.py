"""Precision names: any common spelling becomes one canonical lower-case name, and a name its row.

Rows are `data/precisions.csv`, engines `data/methods.csv`. Four kinds of name have no row of their own and
are read by rule: a group size (`gptq-int4-g32`), bits per weight (`exl2-4.25bpw`), a publisher's GGUF type list
(`ud-q4_k_xl`) and ik_llama.cpp's interleaved types (`iq4_xs_r8`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from sizer.errors import UnknownPrecision, did_you_mean
from sizer.frozen import dataclass
from sizer.methods import methods
from sizer.regex import pattern

MAX_GROUP_ELEMENTS, BITS_PER_WEIGHT_RANGE, LONGEST_NAME = 4096, (1, 16), 64
"""Values of a group, bits a weight and characters of a name that a precision may have: beyond them it is none."""

_BPW = pattern(r"^(exl[23])[-_ ]*(\d{1,2}(?:\.\d{1,3})?)[-_ ]*(?:bpw|bit)\b")
_GROUP = pattern(r"[-_ ]+(?:g(?:s|roup)?(?:[_ ]|-(?!1\b))?(-1|\d{1,4})|(\d{1,4})g)\b")
_WIDE = pattern(r"^(exl[23])\b")
_SUFFIX_BPW = pattern(r"[-_ ]*\d+(\.\d+)? ?bpw$")
_NOISE = pattern(r"\([^)]*\)|\b(torch|gguf|isq|uqff|ollama|exllama|autogptq|cuda|old|act[-_ ]?order|desc[-_ ]?act)\b")
_REPACKED = pattern(r"^(.+)_r[48]$")
_WORDS = {"small": "s", "medium": "m", "large": "l"}


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision by its canonical name: which scheme and storage format it is, which GGUF file type it starts from.

    `kernel` is what multiplies it, the same for precisions that one piece of code runs; `kernel_class` what that is
    like (`float`, `8bit`, `4bit`, `low`; `exl2` and `exl3` unpack every width by one kernel, at a cost of its own).
    """

    name: str
    kind: str
    scheme: str
    format: str
    ftype: str
    kernel: str
    kernel_class: str
    description: str
    source: str
    own_engines: tuple[str, ...] = ()

    @property
    def states_bits(self) -> bool:
        """Whether its name states the bits a weight (`exl2-4.25bpw`), so that the bare word is no precision."""
        return self.scheme == "exl2"

    @property
    def is_gguf(self) -> bool:
        """Whether it is a type of GGUF file."""
        return self.scheme == "gguf"


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, Precision], dict[str, str], dict[str, str]]:
    """Rows by name, names by squeezed spelling, and the reasons of spellings that name no one format."""
    from sizer.tables import read_rows

    rows: dict[str, Precision] = {}
    spellings: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for row in read_rows("precisions.csv"):
        name, aliases = row["name"], row["aliases"].split()
        if row["kind"] == "ambiguous":
            reasons.update({_squeeze(alias): row["description"] for alias in (name, *aliases)})
            continue
        rows[name] = Precision(
            name, row["kind"], row["scheme"], row["format"], row["ftype"], row["kernel"], row["kernel_class"],
            row["description"], row["source"], tuple(row["engines"].split()),
        )  # fmt: skip
        spellings.update({_squeeze(alias): name for alias in (name, *aliases)})
    return rows, spellings, reasons


def _squeeze(text: str) -> str:
    """Lower case, without what people write between the parts of a name."""
    return re.sub(r"[\s_\-./#+,:]", "", text.lower())


def all_precisions() -> tuple[str, ...]:
    """Every canonical name of the table, in its order; EXL2 and EXL3 at 4 bits stand for their other widths."""
    return tuple(
        f"{name}-4.00bpw" if row.states_bits else name
        for name, row in _table()[0].items()
        if row.kind != "gguf-dynamic"
    )


def canonical(text: str) -> str:
    """The canonical name of any common spelling of a precision.

    Raises UnknownPrecision, with the nearest names, or with the reason where a spelling fits several formats.
    """
    return precision_of(text).name


@lru_cache(maxsize=1024)
def precision_of(text: str) -> Precision:
    """The row of a precision by any common spelling. Raises UnknownPrecision as `canonical` does."""
    if not isinstance(text, str):
        raise UnknownPrecision(f"precision {text!r} is not a name.", "`sizer precisions` lists them.")
    lowered = text.strip().lower()
    rows, spellings, reasons = _table()
    candidates = _candidates(lowered)
    for candidate in candidates:
        found = _lookup(candidate, rows, spellings)
        if found is not None:
            return found
    reason = next((reasons[_squeeze(name)] for name in candidates if _squeeze(name) in reasons), "")
    if reason:
        raise UnknownPrecision(f"precision {text!r} names no one format: {reason}.", "Say which.")
    width = _WIDE.match(lowered)
    if width:
        low, high = BITS_PER_WEIGHT_RANGE
        raise UnknownPrecision(
            f"precision {text!r} states no bits per weight from {low:g} to {high:g}.", f"Write {width[1]}-4.00bpw."
        )
    hint = did_you_mean(lowered, rows) or "`sizer precisions` lists them."
    raise UnknownPrecision(f"unknown precision {text!r}.", hint)


def _candidates(lowered: str) -> tuple[str, ...]:
    """The spelling, then with less and less of what people add to a name; none of what is too long for one."""
    if len(lowered) > LONGEST_NAME:
        return ()
    half = lowered.split(" / ", 1)
    same = half[0] if len(half) == 2 and half[0].strip() == half[1].strip() else lowered
    plain = same if _BPW.match(same) else _SUFFIX_BPW.sub("", same)
    bare = _NOISE.sub(" ", plain).strip(" -_")
    inner = re.search(r"\(([^)]+)\)$", lowered)
    short = "_".join(_WORDS.get(word, word) for word in re.split(r"[\s\-_]+", bare))
    grouped = re.sub(r"[-_ ]+g[-_ ]*$", "", bare)
    return tuple(dict.fromkeys((lowered, plain, bare, short, grouped, inner.group(1) if inner else plain)))


def _lookup(text: str, rows: dict[str, Precision], spellings: dict[str, str]) -> Precision | None:
    """The precision of one spelling: a row, or one of the names made by rule."""
    width = _BPW.match(text)
    if width:
        return _with_bits(rows[width.group(1)], float(width.group(2)))
    name = spellings.get(_squeeze(text))
    if name is not None:
        return None if rows[name].states_bits else rows[name]
    grouped = _GROUP.search(text)
    if grouped:
        base = spellings.get(_squeeze(text[: grouped.start()] + text[grouped.end() :]))
        return None if base is None else _with_group(rows[base], int(grouped.group(1) or grouped.group(2)))
    dynamic = re.match(r"^ud[-_ ]?(.+?)(?:-qat)?$", text)
    if dynamic:
        return _dynamic(_lookup(dynamic.group(1), rows, spellings))
    repacked = _REPACKED.match(text)
    if repacked:
        base_row = _lookup(repacked.group(1), rows, spellings)
        if base_row is not None and base_row.is_gguf:
            name = base_row.name + text[-3:]  # rows that are multiplied together, by a kernel of their own
            return replace(base_row, name=name, kind="gguf-repacked", kernel=name)
    return None


def _with_bits(row: Precision, bits: float) -> Precision | None:
    """EXL2 or EXL3 at a stated number of bits per weight."""
    if not BITS_PER_WEIGHT_RANGE[0] <= bits <= BITS_PER_WEIGHT_RANGE[1]:
        return None
    name = f"{row.name}-{bits:.2f}bpw"
    return replace(row, name=name, format=name, description=f"{row.name.upper()} at {bits:g} bits per weight")


def _with_group(row: Precision, elements: int) -> Precision | None:
    """A scheme at another group size than its own; -1 is one group a row."""
    from sizer.formats import format_of

    if not methods()[row.kind].grouped or not (elements == -1 or 8 <= elements <= MAX_GROUP_ELEMENTS):
        return None
    own = format_of(row.format).group_elements
    if own == elements or not own:
        return row if own == elements else None
    name, group = f"{row.name}-g{elements}", f"{row.format}-g{elements}"
    return replace(
        row, name=name, format=group, description=f"{row.description.split(' in ')[0]} in groups of {elements}"
    )


def _dynamic(row: Precision | None) -> Precision | None:
    """unsloth's type list that starts from a GGUF type."""
    if row is None or not row.is_gguf:
        return None
    return replace(row, name=f"ud-{row.name}", kind="gguf-dynamic", description="unsloth's own type list")


def engines_of(precision: str) -> tuple[str, ...]:
    """The engines that run a precision, the usual one first. Raises UnknownPrecision."""
    row = precision_of(precision)
    return tuple(dict.fromkeys((*methods()[row.kind].engines, *row.own_engines)))
