"""Parse and format bytes, rates and counts. Bytes are `int`, rates are base units per second as `float`.

GB is 10^9 and GiB is 2^30, everywhere; bandwidth prints in decimal GB/s, memory in GiB.
"""

from __future__ import annotations

import math
import re

from sizer.errors import InvalidQuantity
from sizer.regex import pattern

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
GB, TB = 10**9, 10**12
HALF_BYTES, FLOAT_BYTES = 2, 4
"""A value in 16 and in 32 bits."""

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BINARY_SCALES = {"k": KIB, "m": MIB, "g": GIB, "t": TIB, "p": 2**50}

_NUMBER = r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*"
_BYTES = pattern(_NUMBER + r"([kmgtp]?)(i?)(b?)", re.IGNORECASE)
_RATE = pattern(_NUMBER + r"([kmgtp]?)(i?)b\s*(?:/\s*s|ps)", re.IGNORECASE)
_FLOPS = pattern(_NUMBER + r"([kmgtp]?)\s*(?:fl)?ops?(?:/s)?", re.IGNORECASE)
_WATTS = pattern(_NUMBER + r"\s*(?:w|watts?)?", re.IGNORECASE)
_WHOLE = pattern(r"\s*[+-]?[0-9]{1,30}\s*")
_TOKENS = pattern(_NUMBER + r"([km])", re.IGNORECASE)
_SECONDS = pattern(_NUMBER + r"(ms|us|s|sec|seconds?|m|min|h|)\s*", re.IGNORECASE)
_GROUPED = pattern(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_SECOND_SCALES = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0}
_SECOND_SCALES |= {"m": 60.0, "min": 60.0, "h": 3600.0}


def _ungrouped(text: str) -> str:
    """The text without the commas of groups of three, as figures are printed here: `32,768`, `1,008 GB/s`."""
    return _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if "," in text else text


def _scaled(text: str, number: str, scale: int) -> float:
    value = float(number) * scale
    if not math.isfinite(value) or value <= 0:
        raise InvalidQuantity(f"{text!r} must be greater than zero.")
    return value


def _byte_scale(prefix: str, binary: str) -> int:
    return _BINARY_SCALES[prefix.lower()] if binary and prefix else _SCALES[prefix.lower()]


def parse_bytes(text: str) -> int:
    """Bytes of `24GiB` (2^30), `24GB` (10^9), `512 MiB` or a plain byte count.

    >>> parse_bytes("1.5GiB")
    1610612736
    """
    match = _BYTES.fullmatch(_ungrouped(text))
    if not match:
        raise InvalidQuantity(f"{text!r} is not an amount of memory.", "Write it as 24GiB (2^30) or 24GB (10^9).")
    number, prefix, binary, _ = match.groups()
    return int(_scaled(text, number, _byte_scale(prefix, binary)))


def parse_rate(text: str) -> float:
    """Bytes per second of `936GB/s`, `3.35 TB/s` or `600GiB/s`.

    >>> parse_rate("1TB/s") == parse_rate("1000 GB/s")
    True
    """
    match = _RATE.fullmatch(_ungrouped(text))
    if not match:
        raise InvalidQuantity(f"{text!r} is not a bandwidth.", "Write it as 936GB/s.")
    number, prefix, binary = match.groups()
    return _scaled(text, number, _byte_scale(prefix, binary))


def parse_flops(text: str) -> float:
    """FLOPs per second of `71TFLOPS` or `0.5 PFLOPS`; a multiply-add is 2 FLOPs."""
    match = _FLOPS.fullmatch(_ungrouped(text))
    if not match:
        raise InvalidQuantity(f"{text!r} is not a compute rate.", "Write it as 71TFLOPS.")
    number, prefix = match.groups()
    return _scaled(text, number, _SCALES[prefix.lower()])


def parse_watts(text: str) -> float:
    """Watts of `250W` or `250`."""
    match = _WATTS.fullmatch(_ungrouped(text))
    if not match or float(match[1]) <= 0:
        raise InvalidQuantity(f"{text!r} is not a power.", "Write it as 250W.")
    return float(match[1])


def parse_seconds(text: str) -> float:
    """Seconds of `50ms`, `1.5s`, `2min`, `5m`, `1h` or a plain `1.5`.

    >>> parse_seconds("50ms")
    0.05
    """
    match = _SECONDS.fullmatch(_ungrouped(text))
    if not match:
        raise InvalidQuantity(f"{text!r} is not a time.", "Write it as 50ms or 1.5s.")
    return _scaled(text, match[1], 1) * _SECOND_SCALES[match[2].lower()]


def parse_layers(text: str) -> int | None:
    """A number of layers, or None for `auto`. Raises InvalidQuantity for other text."""
    if text.strip().lower() == "auto":
        return None
    if not text.strip().isdigit():
        raise InvalidQuantity(f"{text!r} is no number of layers.", "Write a whole number, or auto.")
    return int(text)


def parse_whole(text: str) -> int:
    """A whole number as typed, its sign kept: whoever takes it says which range is right.

    >>> parse_whole("-1")
    -1
    """
    plain = _ungrouped(text)
    if not _WHOLE.fullmatch(plain):
        raise InvalidQuantity(f"{text!r} is no whole number.", "Write it as 4.")
    return int(plain)


def parse_tokens(text: str) -> int:
    """Tokens of `4096` or `32k`: here k is 1,024, as models' contexts are named, and M is 1,048,576.

    >>> parse_tokens("32k")
    32768
    """
    plain = _ungrouped(text)
    if _WHOLE.fullmatch(plain):
        return int(plain)
    match = _TOKENS.fullmatch(plain)
    if not match:
        raise InvalidQuantity(f"{text!r} is not a number of tokens.", "Write it as 4096 or 32k (32,768).")
    return round(_scaled(text, match[1], _BINARY_SCALES[match[2].lower()]))


def format_tokens(tokens: int) -> str:
    """`8192` as it is, from 10,000 in whole k of 1,024 (`128k`), rounded down: a context that is told fits.

    >>> format_tokens(131072)
    '128k'
    """
    return str(tokens) if tokens < 10_000 else f"{tokens // KIB}k"


def format_gib(size_bytes: float) -> str:
    """`14.96 GiB`; what is less than a tenth of one in MiB: `6.2 MiB`."""
    gib = size_bytes / GIB
    return f"{gib:.2f} GiB" if abs(gib) >= 0.1 or gib == 0 else f"{size_bytes / MIB:.3g} MiB"


def format_bandwidth(bytes_per_s: float) -> str:
    """`936 GB/s`, decimal."""
    return f"{bytes_per_s / GB:,.0f} GB/s" if bytes_per_s >= 10 * GB else f"{bytes_per_s / GB:.1f} GB/s"


def format_flops(flops_per_s: float) -> str:
    """`312 TFLOPS`."""
    return f"{significant(flops_per_s / 10**12, 4)} TFLOPS"


def format_count(count: float) -> str:
    """`8.03B`, `596M`, `12.9B`: three significant digits, decimal."""
    for scale, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if float(f"{count / scale:.3g}") >= 1:  # 999.7B are 1T
            return significant(count / scale) + suffix
    return f"{count:.0f}"


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits (or others), and every digit before the point: `0.0123`, `12.3`, `1,234`.

    >>> significant(999.7)
    '1,000'
    """
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g}"


def format_rate(per_s: float) -> str:
    """Tokens per second with three significant digits: `12.3`, `1,234`."""
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.3g}"


def format_seconds(seconds: float) -> str:
    """`12.3 ms`, `1.85 s`, `4.2 min`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{significant(seconds / 60)} min"
