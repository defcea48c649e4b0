"""Numbers, switches and lists as the values of flags write them."""

from __future__ import annotations

import re

from sizer.errors import UsageError

ON = frozenset({"on", "true", "1", "yes", "enabled", "enable", "y"})
OFF = frozenset({"off", "false", "0", "no", "disabled", "disable", "n"})
AUTO = frozenset({"auto", "-1", "default", ""})
MOST = 10**12
"""Nothing that an engine counts is larger; what is, is a slip."""
_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT])i?")
_STEPS = {"k": 1, "m": 2, "g": 3, "t": 4}


def bad(text: str, wanted: str) -> UsageError:
    """The error of a value that is not what a flag takes."""
    return UsageError(f"{text[:60]!r} is not {wanted}.", "")


def whole(text: str) -> int:
    """A whole number, also with a suffix: `8192`, `-1`, `32k` (32 x 1024), `1M`."""
    plain = text.strip().replace("_", "")
    if re.fullmatch(r"[+-]?\d{1,15}", plain):
        return int(plain)
    return _suffixed(plain, 1024, 1024)


def tokens(text: str) -> int:
    """vLLM's numbers for people: `1k` is 1,000, `1K` 1,024, `25.6k` 25,600; `auto` and -1 are what fits (-1)."""
    plain = text.strip()
    if plain.lower() in AUTO:
        return -1
    if re.fullmatch(r"\d{1,15}", plain):
        return int(plain)
    return _suffixed(plain, 1000, 1024)


def _suffixed(text: str, lower: int, upper: int) -> int:
    found = _HUMAN.fullmatch(text)
    if found is None:
        raise bad(text, "a whole number")
    step = (lower if found[2].islower() else upper) ** _STEPS[found[2].lower()]
    value = float(found[1]) * step
    if value > MOST:
        raise bad(text, f"a number up to {MOST:,}")
    return int(value + 0.5)


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise bad(text, "a number") from None
    if not abs(value) < MOST:
        raise bad(text, "a number that can be")
    return value


def on_off(text: str) -> bool | None:
    """True, False, or None for `auto`."""
    lowered = text.strip().lower()
    if lowered in ON:
        return True
    if lowered in OFF:
        return False
    if lowered in AUTO:
        return None
    raise bad(text, "on, off or auto")


def layers(text: str) -> int | None:
    """Layers on the GPU: a number, -1 for all of them, None where the engine chooses (`auto`, -1)."""
    lowered = text.strip().lower()
    if lowered == "all":
        return -1
    if lowered in AUTO:
        return None
    count = whole(text)
    return max(count, -1)


def parts(text: str) -> list[str]:
    """What stands between commas, slashes, semicolons or spaces."""
    return [part.strip() for part in re.split(r"[,/;\s]+", text.strip()) if part.strip()]


def whole_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers between commas or spaces, brackets around them allowed."""
    return tuple(whole(part) for part in parts(text.strip().strip("[]")))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas, slashes or spaces."""
    return tuple(number(part) for part in parts(text.strip().strip("[]")))


def texts(text: str) -> tuple[str, ...]:
    """Words between commas or spaces."""
    return tuple(parts(text))
