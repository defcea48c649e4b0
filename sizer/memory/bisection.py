"""The search for the most that a place holds."""

from __future__ import annotations

from collections.abc import Callable


def last_that_holds(holds: Callable[[int], bool], most: int, guess: int | None = None, *, least: int = 0) -> int:
    """The last number up to `most` that holds, where all before it do and `least` is taken to: a guess and the number
    after it are tried first, the rest is bisection."""
    low, high = least, most
    for known in (guess, guess + 1) if guess is not None else ():
        if low <= known <= high:
            low, high = (known, high) if holds(known) else (low, known - 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
