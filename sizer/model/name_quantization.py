"""Reads the quantization that a model's name tells, as a canonical precision name."""

from __future__ import annotations

import re

_FLAGS = re.ASCII | re.IGNORECASE
_EXTENSION = re.compile(r"\.(?:gguf|ggml|safetensors|bin|pt|pth|json)$", _FLAGS)
_SHARD = re.compile(r"[-_.][0-9]{5}-of-[0-9]{5}$", _FLAGS)


def _word(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9a-z])(?:{pattern})(?![0-9a-z])", _FLAGS)


_GGUF = _word(
    r"(ud[-_])?("
    r"q[2-6][-_]k[-_](?:xxl|xl|xs|l|m|s)|q8[-_]k[-_]xl|q[2-6][-_]k|q[458][-_][01](?:_[48]_[48])?"
    r"|iq[1-4][-_](?:xxs|xs|nl|s|m)|tq[12][-_]0|mxfp4[-_]moe)"
)
# llama-quantize takes the short names for these.
_GGUF_SHORT = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
_GPTQ, _AWQ, _EXL, _MLX, _BNB = map(
    _word, ("gptq|gptqmodel", "awq", "(exl[23])", "mlx(?:-community)?", "bnb|bitsandbytes")
)
_BITS = _word(r"int([2-8])|([2-8])-?bits?|w([2-8])a16|i([48])")
_GROUP = _word(r"gs?-?([0-9]{2,4})|([0-9]{2,4})g")
_GROUP_LAST = _word(r"[0-9]{2,4}g")
_BPW = _word(r"([0-9]{1,2}(?:\.[0-9]{1,2})?)-?bpw")

# Names that say one precision outright, most telling first; each is also removed, so that no digit of it is a size.
_OUTRIGHT: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (_word(pattern), precision)
    for pattern, precision in (
        ("nvfp4", "nvfp4"),
        ("mxfp4", "mxfp4"),
        ("nf4-dq", "nf4-dq"),
        ("nf4", "nf4"),
        ("w4a16|int4-w4a16", "w4a16-int4"),
        ("fp8|f8|float8|w8a8-fp8|fp8-w8a8|fp8-dynamic|e4m3", "fp8"),
        ("w8a8|int8-w8a8", "w8a8-int8"),
        ("int8", "int8"),
        ("bf16|bfloat16", "bf16"),
        ("fp16|f16|float16", "fp16"),
        ("fp32|f32|float32", "fp32"),
    )
)
_NVIDIA_FP4 = re.compile(r"^nvidia/.*(?<![0-9a-z])fp4(?![0-9a-z])", _FLAGS)
_OTHER_SCHEME = _word("aqlm|hqq|eetq|autoround|quip|squeezellm|spqr|vptq|openvino|ov|onnx|ggml")
_NOISE = (_GGUF, _BITS, _GROUP, _BPW, _GPTQ, _AWQ, _EXL, *(pattern for pattern, _ in _OUTRIGHT))


def quantization_in(text: str) -> tuple[str | None, tuple[str, ...], str]:
    """The precision that a hub id or file name tells, notes on what it leaves open, and the name without it.

    The name comes back without organisation, extension and shard number, its quantization replaced by spaces.
    """
    whole = _SHARD.sub("", _EXTENSION.sub("", text.strip()))
    name = whole.rstrip("/").rsplit("/", 1)[-1]
    precision, notes = _precision(whole, name)
    for pattern in _NOISE:
        name = pattern.sub(" ", name)
    return precision, notes, name


def _precision(whole: str, name: str) -> tuple[str | None, tuple[str, ...]]:
    if match := _GGUF.search(name):
        kind = match[2].lower().replace("-", "_")
        return ("ud-" if match[1] else "") + _GGUF_SHORT.get(kind, kind), ()
    bits = _first(_BITS, name)
    schemes = (
        (_GPTQ.search(name) or (bits == 4 and _GROUP_LAST.search(name)), _gptq),
        (_AWQ.search(name), _awq),
        (_EXL.search(name), _exllama),
        (_BNB.search(name), _bitsandbytes),
    )
    for found, read in schemes:
        if found:
            return read(bits, name)
    if _MLX.search(whole) and bits is not None:
        return f"mlx-{bits}bit", ()
    precision = next((precision for pattern, precision in _OUTRIGHT if pattern.search(name)), None)
    if precision is None and _NVIDIA_FP4.search(whole):
        precision = "nvfp4"
    return precision, () if precision else _unclear(bits, name)


def _first(pattern: re.Pattern[str], name: str) -> int | None:
    match = pattern.search(name)
    return next((int(group) for group in match.groups() if group), None) if match else None


def _gptq(bits: int | None, name: str) -> tuple[str | None, tuple[str, ...]]:
    group = _first(_GROUP, name)
    notes = () if bits else ("the name does not tell GPTQ's bits; 4 is usual",)
    suffix = f"-g{group}" if group not in (None, 128) else ""
    return f"gptq-int{bits or 4}{suffix}", notes


def _awq(bits: int | None, _name: str) -> tuple[str | None, tuple[str, ...]]:
    return ("awq-int4", ()) if bits in (None, 4) else (None, (f"AWQ of {bits} bits has no precision name",))


def _exllama(_bits: int | None, name: str) -> tuple[str | None, tuple[str, ...]]:
    scheme, bpw = _EXL.search(name), _BPW.search(name)
    if scheme and bpw:
        return f"{scheme[1].lower()}-{float(bpw[1]):.2f}bpw", ()
    return None, ("EXL without its bits per weight",)


def _bitsandbytes(bits: int | None, name: str) -> tuple[str | None, tuple[str, ...]]:
    if bits == 8:
        return "int8", ()
    if re.search(r"(?<![0-9a-z])fp4(?![0-9a-z])", name, _FLAGS):
        return "fp4", ()
    if bits == 4 or "nf4" in name.lower():
        return "nf4", ()
    return None, ("bitsandbytes without its bits",)


def _unclear(bits: int | None, name: str) -> tuple[str, ...]:
    if match := _OTHER_SCHEME.search(name):
        return (f"{match[0]} has no precision name here",)
    if bits is not None:
        return (f"{bits} bits, but the name does not tell the scheme",)
    if _BPW.search(name):
        return ("bits per weight, but the name does not tell the scheme",)
    return ()
