"""Names as people type them: words, sizes, versions, dates, a quantization, instruct or base, over all published names.

A typed name means a published one where everything that identifies it stands there: each word, each version, each size
(as written, or as the model's published total). What a published name has beside may be left out only where it does not
tell models apart: `Instruct`, a date, a revision, the maker. Where several stay, the one that was left least unsaid is
meant; where two of different shapes stay, nothing is. So nothing is read as something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from sizer.frozen import NamedTuple, dataclass
from sizer.model.read.catalogue import CatalogueEntry, load, published
from sizer.model.read.facts import facts, usual_first
from sizer.model.read.name_parts import Parts, parts_of, word_roles
from sizer.model.read.name_quantization import quantization_in
from sizer.model.read.names import LONGEST_NAME
from sizer.regex import pattern

# A typed size may round the published total by this much: phi-4 of 14.7B is called 14b.
TOTAL_TOLERANCE = 0.06
# What it costs to leave a part of a published name unsaid; only the order matters.
_BASE, _DATE, _REVISION, _PREVIEW, _MARK, _UNDERLYING, _CONTEXT, _UNIT = 8, 2, 2, 2, 1, 3, 1, 9
# From here on a bare number is a size in billions where a name has that size: no version is so high.
LEAST_BARE_SIZE = 6

_BARE_BITS = pattern(r"(?<![\w.])q([2-8])(?![\w])", re.IGNORECASE)
# What people say for it; a repository's name that says so leaves its scheme open.
_SAID_BITS = pattern(r"(?<![\w.])(?:int([2-8])|([2-8])[ -]?bits?)(?![\w])", re.IGNORECASE)
_TRAINED_SO = pattern(r":[\w.-]+-qat$", re.IGNORECASE)  # a tag of Ollama's library: `gemma3:12b-it-qat`
_RUN_TOGETHER = pattern(r"(?<![\w.])q([2-6])k([sml])(?![\w])", re.IGNORECASE)  # `q4km`
_BY_WHOM = pattern(r"\s+by\s+[\w.-]+\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Read:
    """What a typed name was read as: a catalogued model and the quantization that was asked for; or the nearest."""

    entry: CatalogueEntry | None
    quantization: str | None = None
    notes: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()


def read(text: str) -> Read:
    """The published model that a typed name means. `entry` is None where none or several of different shapes are meant;
    `nearest` are then the three that come nearest. Never raises."""
    if len(text) > LONGEST_NAME:
        return Read(None)
    typed, quantization, notes = _typed(text)
    if not typed.words:
        return Read(None, quantization)
    found = sorted(_scored(typed), key=lambda item: item[0])
    if not found:
        return Read(None, quantization, nearest=_near(typed))
    best = [name for cost, name in found if cost == found[0][0]]
    if _differ(best):
        return Read(None, quantization, nearest=tuple(name.name for name in best[:3]))
    chosen = max(best, key=_preference)
    other = next((name.name for _, name in found if name.name != chosen.name), None)
    notes += (f"{text.strip()!r} is read as {chosen.name}" + (f"; also near: {other}" if other else ""),)
    return Read(chosen.entry, quantization, notes)


def _differ(best: list[PublishedName]) -> bool:
    """Whether names that cost the same mean models of different shapes; of one model's dates the newest is meant."""
    if len({name.parts._replace(dates=frozenset()) for name in best}) == 1 and len({n.organisation for n in best}) == 1:
        return False
    return len({name.entry.config_file for name in best}) > 1 and len({_shape(name.entry) for name in best}) > 1


class PublishedName(NamedTuple):
    """A published name taken apart; `quantized` where it says in which format the repository holds the model."""

    name: str
    entry: CatalogueEntry
    parts: Parts
    organisation: str
    quantized: bool


def _typed(text: str) -> tuple[Parts, str | None, tuple[str, ...]]:
    """The parts of the typed text, the quantization in it, and a note where that was not spelled out."""
    plain = _RUN_TOGETHER.sub(r"q\1_k_\2", _BY_WHOM.sub("", text.replace(":", " ")))
    told = quantization_in(plain)
    quantization, bare = told.precision, told.rest
    usual, notes = usual_bits(plain) if quantization is None else (quantization, ())
    quantization = usual or quantization
    bare = _SAID_BITS.sub(" ", _BARE_BITS.sub(" ", bare))
    parts = parts_of(bare)
    filler = word_roles()["filler"]
    words = tuple(word for word in _merged(parts.words) if word not in filler)
    return parts._replace(words=words), quantization, notes


def usual_bits(text: str) -> tuple[str | None, tuple[str, ...]]:
    """What a bare `q4` stands for, the type of that many bits that people take, and a note; (None, ()) without one."""
    if _TRAINED_SO.search(text):
        (trained,) = word_roles()["usual qat"]
        return trained, (f"'qat' is taken as {trained}, the type that such models were trained for",)
    bits = _BARE_BITS.search(text) or (None if "/" in text else _SAID_BITS.search(text))
    usual = word_roles().get(f"usual q{next(filter(None, bits.groups()))}") if bits else None
    if bits is None or usual is None:
        return None, ()
    return usual[0], (f"{bits[0]!r} is taken as {usual[0]}, the usual type of that many bits",)


def _merged(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words joined or split where published names do so: `code llama`, `gptoss`."""
    known, out = vocabulary(), []
    index = 0
    while index < len(words):
        pair = "".join(words[index : index + 2])
        if index + 1 < len(words) and pair in known and words[index] + words[index + 1] == pair:
            apart = all(word in known for word in words[index : index + 2])
            if not apart or (words[index], words[index + 1]) not in _pairs():
                out.append(pair)
                index += 2
                continue
        word = words[index]
        cut = None if word in known else next(
            (k for k in range(2, len(word) - 1) if (word[:k], word[k:]) in _pairs()), None
        )  # fmt: skip
        out += [word] if cut is None else [word[:cut], word[cut:]]
        index += 1
    return tuple(out)


@lru_cache(maxsize=1)
def published_names() -> tuple[PublishedName, ...]:
    """Every published name of the catalogue, taken apart."""
    out = []
    for name, entry in published():
        organisation, _, last = name.rpartition("/")
        told = quantization_in(last)
        quantization, bare = told.precision, told.rest
        quantized = quantization not in (None, "bf16", "fp16", "fp32")
        out.append(PublishedName(name, entry, parts_of(bare), organisation.lower(), quantized))
    return tuple(out)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """The words of published names."""
    return frozenset(word for name in published_names() for word in name.parts.words)


@lru_cache(maxsize=1)
def _pairs() -> frozenset[tuple[str, str]]:
    return frozenset(
        pair for name in published_names() for pair in zip(name.parts.words, name.parts.words[1:], strict=False)
    )


def is_copier(organisation: str) -> bool:
    """Whether an organisation of the hub uploads others' models in other formats under their names."""
    return organisation.lower() in word_roles()["copier"]


def _scored(typed: Parts) -> Iterable[tuple[int, PublishedName]]:
    """The published names that the typed parts can mean, with what was left unsaid."""
    words = set(typed.words)
    for name in published_names():
        cost = None if name.quantized or words.isdisjoint(name.parts.words) else _cost(typed, name)
        if cost is not None:
            yield cost, name


def _cost(typed: Parts, name: PublishedName) -> int | None:
    """What of a published name was left unsaid, in points; None where something typed is not in it."""
    costs = (_words_cost(typed, name), _numbers_cost(typed, name), _sizes_cost(typed, name))
    if any(cost is None for cost in costs):
        return None
    if not typed.dates <= name.parts.dates or not typed.contexts <= name.parts.contexts:
        return None
    dates = _DATE * len(name.parts.dates - typed.dates)
    contexts = _CONTEXT * len(name.parts.contexts - typed.contexts)
    return sum(cost for cost in costs if cost) + dates + contexts


def _words_cost(typed: Parts, name: PublishedName) -> int | None:
    """What it costs to leave the words unsaid that a published name has besides; None where the typed ones are not
    it."""
    roles = word_roles()
    asked, there = set(typed.words), set(name.parts.words)
    extra = {word for word in asked - there if not _is_maker(word, name.organisation)}
    marks = set(roles["omitted"])
    asks_base = bool(asked & set(roles["base"]))
    fact = facts(name.name)
    is_base = (fact is not None and fact.kind == "base") or "base" in there
    extra -= set(roles["base"]) if is_base else set(roles["ignored"])
    if extra or not any(len(word) > 1 for word in (asked & there) - marks) or (asks_base and not is_base):
        return None
    cost = 0 if asks_base or not is_base else _BASE
    for word in there - asked:
        if word in marks or word in roles["base"]:
            cost += _PREVIEW if word == "preview" else _MARK
        elif word in roles["underlying"] and typed.sizes and (asked & there) - set(roles["underlying"]):
            cost += _UNDERLYING
        elif name.organisation and _is_maker(word, name.organisation):
            cost += _MARK
        else:
            return None
    return cost


def _is_maker(word: str, organisation: str) -> bool:
    """Whether a word names the organisation: `cohere` CohereLabs, `zhipu` zai-org."""
    flat = organisation.replace("-", "").replace("_", "")
    starts = len(word) > 2 and (flat.startswith(word) or organisation.startswith(word + "-"))
    return starts or organisation in word_roles().get(f"vendor {word}", ())


def _numbers_cost(typed: Parts, name: PublishedName) -> int | None:
    """Versions typed must stand in the name, or be its size without the unit (`gpt oss 20`). Revisions (`v0.3`) may be
    left out, and behind a size the versions of what a model was built on (`Hermes 3 8B` of `Hermes-3-Llama-3.1-8B`):
    those are asked for with its name alone (`dolphin3 8b` is no `dolphin-2.9-llama3-8b`)."""
    of_others = Counter(number for word, number in name.parts.owned if word not in typed.words)
    there = Counter(name.parts.numbers + name.parts.revisions)
    asked = Counter(typed.numbers + typed.revisions)
    bare = asked - (there - of_others)
    if bare:
        (number, *more) = bare.elements()
        unit = f"{number}b" in name.parts.sizes and float(number.split(".")[0]) >= LEAST_BARE_SIZE
        if more or typed.sizes or not unit:
            return None
        rest = typed._replace(
            numbers=tuple((Counter(typed.numbers) - bare).elements()), sizes=frozenset({f"{number}b"})
        )
        cost = _numbers_cost(rest, name)
        return None if cost is None else cost + _UNIT
    left = there - of_others - asked + of_others
    revised = Counter(name.parts.revisions) & left
    left -= revised
    cost = _REVISION * sum(revised.values())
    if not left:
        return cost
    underlying = set(word_roles()["underlying"])
    built_on = set(name.parts.words) & underlying and set(typed.words) - underlying and typed.sizes
    return cost + _UNDERLYING * sum(left.values()) if built_on else None


def _sizes_cost(typed: Parts, name: PublishedName) -> int | None:
    """Each typed size stands in the name, or is the model's published total, rounded."""
    total = name.entry.reference_params
    own = [size for size in name.parts.sizes if size[0].isdigit() and "x" not in size]
    says_total = bool(own) and not any(size.endswith("e") for size in own)
    for size in typed.sizes - name.parts.sizes:
        count = _count(size)
        if says_total or count is None or not total or abs(count / total - 1) > TOTAL_TOLERANCE:
            return None
    return 0


def _count(size: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([bmt])", size)
    return float(match[1]) * {"m": 1e6, "b": 1e9, "t": 1e12}[match[2]] if match else None


@lru_cache(maxsize=256)
def _shape(entry: CatalogueEntry) -> tuple[object, ...]:
    """What two models of one shape have in common: parameters, cache and context."""
    from sizer.model.families import build

    model = build(load(entry), entry.model_id)
    return model.architecture, model.total_params, model.max_context_tokens, frozenset(model.mixer_counts.items())


def _preference(name: PublishedName) -> tuple[bool, str, str, bool]:
    return *usual_first(name.name), max(name.parts.dates, default=""), name.entry.alias is None


def _all(parts: Parts) -> Counter[str]:
    return Counter((*parts.words, *parts.numbers, *parts.revisions, *parts.sizes, *parts.dates))


def _near(typed: Parts) -> tuple[str, ...]:
    """The three published names that share most with what was typed."""
    asked = _all(typed)

    roles = word_roles()
    usual = {*roles["generic"], *roles["omitted"], *roles["base"]}
    words = {word for word in typed.words if len(word) > 1} - usual

    def shared(name: PublishedName) -> tuple[int, bool, int, bool, str, str, bool]:
        """Words first, a number alone may be another's version; words of its own that nobody typed count against it."""
        official = any(_is_maker(word, name.organisation) for word in typed.words)
        others = len(set(name.parts.words) - set(typed.words) - usual)
        alike = sum((asked & _all(name.parts)).values()) - others
        return len(set(typed.words) & set(name.parts.words)), official, alike, *_preference(name)

    close = [name for name in published_names() if not name.quantized and words & set(name.parts.words)]
    return tuple(name.name for name in sorted(close, key=shared, reverse=True)[:3])
