"""Reads what a model's name tells: sizes, quantization, context. It never raises and says nothing rather than guess."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import field
from enum import Enum

from sizer.frozen import dataclass
from sizer.model.read.name_quantization import quantization_in
from sizer.regex import pattern


class Confidence(str, Enum):
    """How far the sizes read from a name can be trusted."""

    HIGH = "high"
    """One plain size; published models of such names are mostly within 15 % of it."""
    MEDIUM = "medium"
    """A size whose spelling or neighbours leave a second reading."""
    LOW = "low"
    """A size that is known to be rough: a product of experts, or the base model's size in an adapter's name."""
    NONE = "none"
    """The name tells no size."""


@dataclass(frozen=True, slots=True)
class NameHints:
    """What a name tells; None where it does not tell.

    `total_params` and `active_params` are counts, `experts` the number of routed experts, `context_tokens` the context
    that the name advertises, `quantization` a canonical precision name; `unsized`, `as_many_bits` and `lacks_bits` are
    what it tells besides (`name_quantization.Told`). `notes` are the reasons for a lower confidence and for what was
    left out.
    """

    text: str
    total_params: int | None = None
    active_params: int | None = None
    experts: int | None = None
    quantization: str | None = None
    context_tokens: int | None = None
    confidence: Confidence = Confidence.NONE
    notes: tuple[str, ...] = ()
    unsized: str = ""
    as_many_bits: str | None = None
    lacks_bits: bool = False


LONGEST_NAME = 400  # hub ids have at most 96 characters a part; longer text is no name
_SCALE = {"m": 10**6, "b": 10**9, "t": 10**12}
_SIZE = r"([0-9]{1,4}(?:\.[0-9]{1,3})?)([bmt])"
_FLAGS = re.ASCII | re.IGNORECASE

# A decimal point written as an underscore (`Qwen-1_8B`), unless underscores separate the words (`llama_2_7b`).
_DECIMAL_UNDERSCORE = pattern(r"(?<![0-9A-Za-z_.])([0-9]{1,2})_([0-9])(?=[bm](?![0-9A-Za-z]))", _FLAGS)
# A point separates words unless it stands in a number; behind a year it separates too (`2026.27B`).
_SEPARATOR = pattern(r"[^0-9A-Za-z.]+|\.(?![0-9])|(?<![0-9])\.|(?<=(?<![0-9])20[0-9]{2})\.", _FLAGS)

_PLAIN = pattern(_SIZE, _FLAGS)
_LETTER_POINT = pattern(r"([0-9]{1,3})b([0-9])|([0-9]{1,3})p([0-9])b", _FLAGS)
_ACTIVE_AND_TOTAL = pattern(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)b([0-9]{1,3}(?:\.[0-9]{1,3})?)b", _FLAGS)
_EXPERTS_TIMES_SIZE = pattern(r"([0-9]{1,3})x([0-9]{1,3}(?:\.[0-9]{1,3})?)([bm])", _FLAGS)
_SIZE_TIMES_EXPERTS = pattern(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)([bm])x([0-9]{1,3})", _FLAGS)
_ACTIVE = pattern(r"a([0-9]{1,4}(?:\.[0-9]{1,3})?)([bm])", _FLAGS)
_EFFECTIVE = pattern(r"e([0-9]{1,3}(?:\.[0-9]{1,3})?)(b)", _FLAGS)
_EXPERTS = pattern(r"([0-9]{1,4})e", _FLAGS)
_SIZE_TIMES_EXPERT_COUNT = pattern(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)(b)x([0-9]{1,4})e", _FLAGS)
_CONTEXT = pattern(r"([0-9]{1,4})k", _FLAGS)
_GLUED = pattern(r"(r|[a-z]{2,})([0-9]{1,3}(?:\.[0-9]{1,3})?)([bm])", _FLAGS)

# Words whose number is no size when it is glued to them, or stands beside them.
_TOKEN_WORDS = frozenset({"token", "tokens", "tok", "toks"})
_STEP_WORDS = frozenset({"step", "steps", "iter", "iters", "checkpoint", "ckpt", "epoch", "stage"})
_NOT_GLUED = _TOKEN_WORDS | _STEP_WORDS | {"int", "fp", "bf", "nf", "iq", "tq", "ctx", "rank", "lora", "bit", "gs"}
# Speculation heads carry the size of the model that they draft for.
_HEAD_WORDS = ("eagle3", "medusa", "dflash", "dflare", "dspark", "speculator", "accelerator", "mmproj", "hydra")
# Gemma 4's are `-it-assistant` (model_type gemma4_assistant in transformers); elsewhere the word is a use.
_ASSISTED = frozenset({"gemma", "it", "assistant"})
_ADAPTER_WORDS = frozenset({"lora", "qlora", "adapter", "adapters", "peft", "eagle"})
# `-1M` beside a size is a context; alone it could be either.
_MILLION_CONTEXTS = frozenset({1, 2, 4, 10})
# Millions up to here beside a size in billions count samples or tokens; glued to a word they are part of it (`M2M`).
_SMALLEST_MILLIONS = 10 * 10**6
_BILLION = 10**9
# Chinchilla's rule is 20 tokens a parameter: a second size that far above the first counts training tokens.
_TOKENS_PER_PARAM = 20
# A mixture of experts that names active and total size has a ratio in this range between them.
_MIN_SPARSITY, _MAX_SPARSITY = 2, 12

_NOTE_PRODUCT = "the experts share attention, so the true total is below the product in the name"
_NOTE_HEAD = "the size in the name is that of the model it drafts for or extends"
_NOTE_ADAPTER = "the name may be that of an adapter or a speculation head; its size is the base model's"
_NOTE_EFFECTIVE = "an effective size leaves out per-layer embeddings, so the total is not told"
_NOTE_ROUTED = "the size before a number of experts is what one token uses; the total is not told"
_NOTE_UNCLEAR_MILLION = "a million alone may be a context or a size"
_NOTE_TRILLION = "trillions alone may count parameters or training tokens"
_NOTE_CONFLICT = "the name has several sizes, and does not say which is the model's"
_NOTE_TRAINING = "a number of training tokens is no size"
_NOTE_MOE = "a mixture of experts; the name does not say whether this is its total"
_NOTE_GLUED = "the size is glued to a word"
_NOTE_UNDERSCORE = "an underscore was read as a decimal point"


@dataclasses.dataclass(slots=True)
class _Found:
    """What the words of a name are, before the rules choose between them."""

    words: list[str]
    plain: list[tuple[int, int]] = field(default_factory=list)
    trillions: list[int] = field(default_factory=list)
    glued: list[tuple[str, int]] = field(default_factory=list)
    millions: list[int] = field(default_factory=list)
    product: tuple[int, int] | None = None
    pair: tuple[int, int] | None = None
    active: int | None = None
    effective: int | None = None
    experts: int | None = None
    context: int | None = None
    notes: list[str] = field(default_factory=list)


def parse_name(text: str) -> NameHints:
    """What a hub id, a file name or a bare size tells about a model; never raises.

    >>> hints = parse_name("Qwen/Qwen3-30B-A3B-GPTQ-Int4")
    >>> hints.total_params, hints.active_params, hints.quantization
    (30000000000, 3000000000, 'gptq-int4')
    >>> parse_name("mistralai/Mixtral-8x7B-v0.1").total_params
    56000000000
    """
    if len(text) > LONGEST_NAME:
        return NameHints(text, notes=("the text is too long for a model's name",))
    told = quantization_in(text)
    name = told.rest
    decimal = name.replace("\N{MULTIPLICATION SIGN}", "x")
    if "_" in decimal:
        decimal = _DECIMAL_UNDERSCORE.sub(r"\1.\2", decimal)
    found = _read_words([word for word in _SEPARATOR.split(decimal) if word])
    if decimal != name and "_" in name:
        found.notes.append(_NOTE_UNDERSCORE)
    total, active, experts, confidence = _choose(found)
    if confidence is Confidence.NONE:
        found.notes = [note for note in found.notes if note not in (_NOTE_UNDERSCORE, _NOTE_GLUED)]
    notes = (*dict.fromkeys(found.notes), *told.notes)
    return NameHints(
        text, total, active, experts, told.precision, found.context, confidence, notes, told.unsized,
        told.as_many_bits, told.lacks_bits,
    )  # fmt: skip


def _count(number: str, unit: str) -> int:
    return round(float(number) * _SCALE[unit.lower()])


def _read_words(words: list[str]) -> _Found:
    """Sorts the words of a name into kinds of numbers."""
    found = _Found(words)
    for index, word in enumerate(words):
        before = words[index - 1].lower() if index else ""
        after = words[index + 1].lower() if index + 1 < len(words) else ""
        if after in _TOKEN_WORDS or before in _TOKEN_WORDS:
            if _PLAIN.fullmatch(word):
                found.notes.append(_NOTE_TRAINING)
        elif match := _EXPERTS.fullmatch(word):
            if _PLAIN.fullmatch(before):  # `17B-16E`; elsewhere an `e` ends a learning rate or an epoch
                found.experts = int(match[1])
        elif not _read_sparse(found, word):
            _read_dense(found, word, index, before)
    return found


def _read_sparse(found: _Found, word: str) -> bool:
    """Reads a word that speaks of experts: `8x7B`, `7Bx2`, `17Bx16E`, `A3B`, `1b7b`, `E2B`."""
    if "x" in word.lower():
        return _read_times(found, word)
    if match := _ACTIVE.fullmatch(word):
        found.active = _count(match[1], match[2])
    elif match := _ACTIVE_AND_TOTAL.fullmatch(word):
        found.pair = _count(match[1], "b"), _count(match[2], "b")
    elif match := _EFFECTIVE.fullmatch(word):
        found.effective = _count(match[1], match[2])
    else:
        return False
    return True


def _read_times(found: _Found, word: str) -> bool:
    """Reads a word of experts times a size."""
    if match := _EXPERTS_TIMES_SIZE.fullmatch(word):
        found.product = int(match[1]), _count(match[2], match[3])
    elif match := _SIZE_TIMES_EXPERTS.fullmatch(word):
        found.product = int(match[3]), _count(match[1], match[2])
    elif match := _SIZE_TIMES_EXPERT_COUNT.fullmatch(word):
        found.active, found.experts = _count(match[1], match[2]), int(match[3])
        found.notes.append(_NOTE_ROUTED)
    else:
        return False
    return True


def _read_dense(found: _Found, word: str, index: int, before: str) -> None:
    """Reads a plain size, a context, or a size glued to a word."""
    if match := _PLAIN.fullmatch(word):
        count, unit = _count(match[1], match[2]), match[2].lower()
        if unit == "t":
            found.trillions.append(count)
        elif unit == "m" and count // 10**6 in _MILLION_CONTEXTS and count % 10**6 == 0:
            found.millions.append(count)
        elif count:
            found.plain.append((index, count))
    elif match := _LETTER_POINT.fullmatch(word):
        found.plain.append((index, _count(f"{match[1] or match[3]}.{match[2] or match[4]}", "b")))
    elif match := _CONTEXT.fullmatch(word):
        if before not in _STEP_WORDS:
            found.context = _context_tokens(int(match[1])) or found.context
    elif (match := _GLUED.fullmatch(word)) and match[1].lower() not in _NOT_GLUED:
        found.glued.append((match[2], _count(match[2], match[3])))


def _context_tokens(thousands: int) -> int | None:
    """Tokens of a `128k`: a power of two where it is one, or where one rounds down to it (`262k`, `1048k`).

    Other counts are contexts only where they are round (`200k`, `192k`); a `955k` is a number of steps.
    """
    for bits in range(11, 24):
        if thousands in (2**bits // 1024, 2**bits // 1000):
            return int(2**bits)
    if thousands in (100, 200, 1000):
        return thousands * 1000
    return thousands * 1024 if thousands % 32 == 0 and 32 < thousands < 1024 else None


def _choose(found: _Found) -> tuple[int | None, int | None, int | None, Confidence]:
    """Total, active, experts and confidence from what was found."""
    lowered = {word.lower() for word in found.words}
    if any(word.startswith(_HEAD_WORDS) for word in lowered) or lowered >= _ASSISTED:
        found.notes.append(_NOTE_HEAD)
        return None, None, None, Confidence.NONE
    total, active, experts, confidence = _sparse_sizes(found) or _dense_sizes(found, lowered)
    if total is not None and active is not None and active > total:
        found.notes.append(_NOTE_CONFLICT)
        return None, None, experts, Confidence.NONE
    if total == 0 or active == 0:
        return None, None, experts, Confidence.NONE
    if confidence is not Confidence.NONE and lowered & _ADAPTER_WORDS:
        found.notes.append(_NOTE_ADAPTER)
        confidence = Confidence.LOW
    _read_millions(found, total or active, confidence)
    return total, active, experts, confidence


def _read_millions(found: _Found, size: int | None, confidence: Confidence) -> None:
    if not found.millions:
        return
    if size is not None and size not in found.millions:
        found.context = found.millions[-1]
    elif confidence is Confidence.NONE:
        found.notes.append(_NOTE_UNCLEAR_MILLION)


def _sparse_sizes(found: _Found) -> tuple[int | None, int | None, int | None, Confidence] | None:
    """The sizes of a name that speaks of experts, active or effective parameters; None where it does not."""
    plain = [count for _, count in found.plain]
    if found.product:
        return _product_sizes(found, *found.product, plain)
    if found.pair:
        return found.pair[1], found.pair[0], found.experts, Confidence.HIGH
    if found.active is not None:
        return _active_sizes(found, plain)
    if found.experts is not None and len(plain) == 1:
        found.notes.append(_NOTE_ROUTED)
        return None, plain[0], found.experts, Confidence.MEDIUM
    if found.effective is not None and not plain:
        found.notes.append(_NOTE_EFFECTIVE)
        return None, found.effective, found.experts, Confidence.MEDIUM
    return None


def _active_sizes(found: _Found, plain: list[int]) -> tuple[int | None, int | None, int | None, Confidence]:
    """The sizes of `30B-A3B`, `1T-A32B` or a lone `A3B`."""
    total = _one(plain) or _one(found.trillions)
    if total is not None or not plain:
        return total, found.active, found.experts, Confidence.HIGH
    found.notes.append(_NOTE_CONFLICT)
    return None, None, found.experts, Confidence.NONE


def _product_sizes(
    found: _Found, experts: int, each: int, plain: list[int]
) -> tuple[int | None, int | None, int | None, Confidence]:
    """The total of `8x7B`: a plain size beside it that the product can hold, else the product."""
    explicit = [count for count in plain if each < count < experts * each]
    if len(explicit) == 1:
        return explicit[0], found.active, experts, Confidence.HIGH
    found.notes.append(_NOTE_PRODUCT)
    return experts * each, found.active, experts, Confidence.LOW


def _one(counts: list[int]) -> int | None:
    return counts[0] if len(set(counts)) == 1 else None


def _dense_sizes(found: _Found, words: set[str]) -> tuple[int | None, int | None, int | None, Confidence]:
    """The size of a name without active parameters: one plain size, or the reading of two."""
    if any(count >= _BILLION for _, count in found.plain):
        found.plain = [(index, count) for index, count in found.plain if count > _SMALLEST_MILLIONS]
    counts = [count for _, count in found.plain]
    if not counts:
        return _lone_size(found)
    if found.trillions:
        found.notes.append(_NOTE_TRAINING)
    pair_is_adjacent = len(counts) == 2 and found.plain[1][0] - found.plain[0][0] == 1
    if len(set(counts)) == 1 and not pair_is_adjacent:
        mixture = any("moe" in word for word in words)
        if mixture:
            found.notes.append(_NOTE_MOE)
        return counts[0], None, found.experts, Confidence.MEDIUM if mixture else Confidence.HIGH
    if len(counts) == 2 and counts[1] >= _TOKENS_PER_PARAM * counts[0]:
        found.notes.append(_NOTE_TRAINING)
        return counts[0], None, found.experts, Confidence.MEDIUM
    if pair_is_adjacent and _MIN_SPARSITY * counts[0] <= counts[1] <= _MAX_SPARSITY * counts[0]:
        return counts[1], counts[0], found.experts, Confidence.HIGH
    found.notes.append(_NOTE_CONFLICT)
    return None, None, found.experts, Confidence.NONE


def _lone_size(found: _Found) -> tuple[int | None, int | None, int | None, Confidence]:
    """A size in trillions, a bare million, or one glued to a word, where the name has no plain size."""
    trillion = _one(found.trillions)
    if trillion is not None:
        if len(found.words) <= 2:
            return trillion, None, found.experts, Confidence.MEDIUM
        found.notes.append(_NOTE_TRILLION)
        return None, None, found.experts, Confidence.NONE
    if len(found.words) == 1 and found.millions:
        return found.millions[0], None, None, Confidence.HIGH
    glued = [(digits, count) for digits, count in found.glued if count >= _SMALLEST_MILLIONS]
    if len(glued) == 1:
        digits, count = glued[0]
        found.notes.append(_NOTE_GLUED)
        # `llama213b` is Llama 2 13B, `gemma27b` is 27B: several digits may begin with a version.
        several = len(digits.split(".")[0]) > 1 and digits[0] in "234"
        if several and len(digits.split(".")[0]) > 2:
            return None, None, found.experts, Confidence.NONE
        return count, None, found.experts, Confidence.LOW if several else Confidence.MEDIUM
    return None, None, found.experts, Confidence.NONE
