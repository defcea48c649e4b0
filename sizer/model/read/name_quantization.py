"""Reads the quantization that a model's name tells, as a canonical precision name."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache

from sizer.errors import UsageError
from sizer.frozen import NamedTuple
from sizer.methods import methods


class Told(NamedTuple):
    """What a name tells of its quantization.

    `precision` is None where it tells none: `unsized` is then a scheme that nothing here sizes, `as_many_bits` the
    precision that stands for bits without a scheme, and `lacks_bits` is true of files of many widths that tell none.
    `notes` are what it leaves open, `rest` the name without it.
    """

    precision: str | None = None
    notes: tuple[str, ...] = ()
    unsized: str = ""
    as_many_bits: str | None = None
    lacks_bits: bool = False
    rest: str = ""


_FLAGS = re.ASCII | re.IGNORECASE
_EXTENSIONS = (".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".pth", ".json")
_SHARD = r"[-_.][0-9]{5}-of-[0-9]{5}$"


@lru_cache(maxsize=64)
def _word(pattern: str) -> re.Pattern[str]:
    """A pattern that stands as a word of its own. Compiled when first used: most names need none of them."""
    return re.compile(rf"(?<![0-9a-z])(?:{pattern})(?![0-9a-z])", _FLAGS)


_GGUF = (
    r"(?:mix[-_])?(ud[-_])?("
    r"q[2-6][-_]?k[-_]?(?:xxl|xl|xs|l|m|s)|q8[-_]k[-_]xl|q[2-6][-_]k|q[458][-_][01](?:_[48]_[48])?"
    r"|iq[1-4][-_](?:xxs|xs|nl|s|m)|iq[1-6][-_]k(?:ss|[lst])?|tq[12][-_]0|mxfp4[-_]moe)(?:_r[48])?"
)
_K_WITHOUT_SIGNS = re.compile(r"^(q[2-6])_?k_?(?=[mlsx])")  # `q4km`
# llama-quantize takes the short names for these.
_GGUF_SHORT = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
_BNB_FP4 = "fp4"
# A bare `4b` is bits only between a method and a group, as in `GPTQ-4b-128g`.
_BITS = (
    r"int([2-8])|([2-8])-?bits?|w([2-8])a16|i([48])"
    r"|(?<=gptq[-_])([2-8])b(?=[-_](?:gs?-?[0-9]{2,4}|[0-9]{2,4}g)(?![0-9a-z]))"
)
_GROUP = r"gs?-?([0-9]{2,4})|([0-9]{2,4})g"
_GROUP_LAST = r"[0-9]{2,4}g"
# Branches of EXL repositories are called by their bits alone: `exl2-4_25`.
_EXL_BITS = r"(exl[23])[-_]([2-8])[._]([0-9]{1,2})"
_BPW = r"([0-9]{1,2}(?:\.[0-9]{1,2})?)-?bpw"

_OTHER_RUNTIME = (
    "openvino|(?<=int[48][-_])ov|(?<=fp16[-_])ov|onnx|rkllm|executorch|spinquant[-_]int4|qlora[-_]int4|8da4w|w4afp8"
)
"""Files that other programs load, whatever else the name tells."""
_OTHER_SCHEME = (
    "aqlm|eetq|quip(?:-?sharp)?|qtip|e8p(?:rvq)?|squeezellm|spqr|vptq|woft|higgs(?=[-_](?:gptq|[2-8]-?bit))|sinq|paro"
    "|fp-?quant|qserve|spinquant|ggml|ct2|float8(?:dq|wo)|w4a[48]|fp6"
)
_HQQ_BITS = r"([1-8])-?bit(?:[-_]?gs?-?([0-9]{2,4}))?"
_AFTER_G = frozenset("0123456789s-")
# Letters that the patterns above have, beside the stems of the methods: a name with none of them needs no pattern.
_STEMS = (
    "q2", "q3", "q4", "q5", "q6", "q8", "iq", "tq", "bit", "bpw", "int", "w2a", "w3a", "w5a", "w6a", "w7a", "i4", "i8",
    "aqlm", "eetq", "quip", "qtip", "e8p", "llm", "spqr", "vptq", "woft", "higgs", "sinq", "paro", "quant", "qserve",
    "openvino", "ov", "onnx", "ggml", "ct2", "executorch", "8da", "float8", "w4a", "fp6", "qlora",
)  # fmt: skip


@cache
def _words() -> tuple[tuple[str, str], ...]:
    """The words of the methods, those that a function reads further first: pattern, and precision or function."""
    found = [entry for method in methods().values() for entry in method.words]
    return tuple(sorted(found, key=lambda entry: not entry[1].startswith("read:")))


@cache
def _noise() -> tuple[str, ...]:
    """What is taken out of a name, so that no digit of it is a size."""
    return (_GGUF, _BITS, _GROUP, _BPW, *(pattern for pattern, told in _words() if told not in WHOLE_NAMES))


@cache
def _stems() -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_STEMS, *(stem for method in methods().values() for stem in method.stems))))


def quantization_in(text: str) -> Told:
    """What a hub id or file name tells of its quantization.

    The rest is without organisation, extension and shard number, the quantization replaced by spaces.
    """
    whole = text.strip()
    for extension in _EXTENSIONS:
        if whole.lower().endswith(extension):
            whole = whole[: -len(extension)]
            break
    if "-of-" in whole.lower():
        whole = re.sub(_SHARD, "", whole, flags=_FLAGS)
    name = whole.rstrip("/").rsplit("/", 1)[-1]
    if not may_tell(whole):
        return Told(rest=name)
    told = _told(whole, name)
    for pattern in _noise():
        name = _word(pattern).sub(" ", name)
    return told._replace(rest=name)


def may_tell(whole: str) -> bool:
    """Whether any word could speak of a quantization: a cheap sieve before the patterns, which it never contradicts."""
    lowered = whole.lower()
    if any(stem in lowered for stem in _stems()):
        return True
    # groups: g128, gs-64, 128g
    return any(
        letter == "g" and (lowered[place + 1 : place + 2] in _AFTER_G or lowered[place - 1 : place].isdigit())
        for place, letter in enumerate(lowered)
    )


def _told(whole: str, name: str) -> Told:
    if match := _word(_GGUF).search(name):
        kind = _K_WITHOUT_SIGNS.sub(r"\1_k_", match[2].lower().replace("-", "_"))
        return Told(("ud-" if match[1] else "") + _GGUF_SHORT.get(kind, kind))
    if match := _word(_OTHER_RUNTIME).search(name):
        return _unsized(match[0])
    bits = _first(_BITS, name)
    for pattern, told in _words():
        reader = READERS.get(told)
        # The publisher's name counts for a function (mlx-community), a file's own name for a precision told outright.
        if _word(pattern).search(whole if told in WHOLE_NAMES else name):
            found = Told(told) if reader is None else reader(bits, name)
            if found is not None:
                return found
        elif told == GPTQ and bits == GPTQ_BITS and _word(_GROUP_LAST).search(name):
            return _gptq(bits, name)
    if whole.lower().startswith("nvidia/") and _word(_BNB_FP4).search(name):
        return Told("nvfp4")
    return _unclear(bits, name)


def _first(pattern: str, name: str) -> int | None:
    match = _word(pattern).search(name)
    return next((int(group) for group in match.groups() if group), None) if match else None


def _gptq(bits: int | None, name: str) -> Told:
    group = _first(_GROUP, name)
    notes = () if bits else ("the name does not tell GPTQ's bits; 4 is usual",)
    suffix = f"-g{group}" if group not in (None, 128) else ""
    return Told(f"gptq-int{bits or 4}{suffix}", notes)


def _awq(bits: int | None, _name: str) -> Told:
    return Told("awq-int4") if bits in (None, 4) else Told(notes=(f"AWQ of {bits} bits has no precision name",))


AS_MANY_BITS = {4: "w4a16-int4", 8: "int8"}
"""What a name that tells bits alone is taken as: integers in groups of 128 take within a few per cent the same."""


def _unsized(scheme: str, why: str = "") -> Told:
    """A scheme that the name tells and nothing here sizes."""
    return Told(notes=(f"{scheme} has no precision name here{why}",), unsized=scheme)


def unsized_error(name: str, scheme: str, instead: str) -> UsageError:
    """The error of a copy whose scheme is not sized: what it takes would be told as if it were not quantized."""
    return UsageError(f"{name!r:.200} holds weights of a kind that sizer does not size: {scheme}.", instead)


def _exllama(_bits: int | None, name: str) -> Told:
    scheme, bpw = _word("(exl[23])").search(name), _word(_BPW).search(name)
    if scheme and bpw:
        return Told(f"{scheme[1].lower()}-{float(bpw[1]):.2f}bpw")
    if branch := _word(_EXL_BITS).search(name):
        return Told(f"{branch[1].lower()}-{float(f'{branch[2]}.{branch[3]}'):.2f}bpw")
    return Told(notes=("EXL without its bits per weight",), lacks_bits=True)


def _auto_round(bits: int | None, name: str) -> Told:
    """AutoRound's files are GPTQ's unless their config says another way (auto_round: packing_format)."""
    notes = () if bits else ("the name does not tell AutoRound's bits; 4 is usual",)
    return _gptq(bits or 4, name)._replace(notes=notes)


def _hqq(_bits: int | None, name: str) -> Told:
    """HQQ's `4bitgs64`; of a mixture whose attention and experts have unlike bits nothing is told."""
    found = {match.groups() for match in re.finditer(_HQQ_BITS, name, _FLAGS)}
    if len(found) != 1:
        return _unsized("HQQ", ": the name tells no bits, or more than one number of them")
    ((bits, group),) = found
    return Told(f"hqq-{bits}bit" + (f"-g{group}" if group not in {None, "64"} else ""))


def _bitsandbytes(bits: int | None, name: str) -> Told:
    if bits == 8:
        return Told("int8")
    if _word(_BNB_FP4).search(name):
        return Told("fp4")
    if bits == 4 or "nf4" in name.lower():
        return Told("nf4")
    return Told(notes=("bitsandbytes without its bits",))


def _mlc(_bits: int | None, _name: str) -> Told:
    """MLC's `q4f16_1`: four bits in groups, which its own runtime alone loads."""
    return Told("w4a16-int4", ("its files are MLC's, which mlc-llm loads: -e mlc-llm",))


def _mlx(bits: int | None, _name: str) -> Told | None:
    """MLX weights; without a number of bits the publisher's name says nothing of the precision."""
    return None if bits is None else Told(f"mlx-{bits}bit")


READERS: dict[str, Callable[[int | None, str], Told | None]] = {
    "read:gptq": _gptq,
    "read:awq": _awq,
    "read:auto_round": _auto_round,
    "read:hqq": _hqq,
    "read:exllama": _exllama,
    "read:bitsandbytes": _bitsandbytes,
    "read:mlx": _mlx,
    "read:mlc": _mlc,
}
"""By the name that a row of `data/methods.csv` gives: words whose precision needs the bits beside them."""
WHOLE_NAMES = frozenset({"read:mlx"})
"""Readers that the organisation's name counts for too (`mlx-community/`)."""
GPTQ, GPTQ_BITS = "read:gptq", 4
"""Four bits and a group at the end of a name (`4bit-128g`) are GPTQ's, though the word is missing."""


def _unclear(bits: int | None, name: str) -> Told:
    """A name that tells no precision: another scheme's, bits alone, or nothing."""
    if match := _word(_OTHER_SCHEME).search(name):
        return _unsized(match[0])
    if bits is not None:
        note = f"{bits} bits, but the name does not tell the scheme"
        return Told(notes=(note,), as_many_bits=AS_MANY_BITS.get(bits))
    if _word(_BPW).search(name):
        return Told(notes=("bits per weight, but the name does not tell the scheme",))
    return Told()
