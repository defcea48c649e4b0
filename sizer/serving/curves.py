"""Counts of one thing that a law is tabulated at, and straight lines between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from sizer.frozen import dataclass

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)
DEPTHS = (1, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576, 4194304)
PROMPTS = (1, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
"""The counts that a step's terms are tabulated at: close where they bend, doubling where they are nearly straight."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The counts that a step's terms are asked at: sequences, tokens of depth, tokens of a prompt."""

    batches: tuple[int, ...] = BATCHES
    depths: tuple[int, ...] = DEPTHS
    prompts: tuple[int, ...] = PROMPTS

    @classmethod
    def up_to(cls, batch: int, depth: float) -> Grid:
        """What steps of at most so many sequences at this depth need of the whole grid, and no prompt: the same
        figures, without those that nobody asks for."""
        last = bisect_right(BATCHES, batch) + 2
        here = min(max(bisect_right(DEPTHS, depth) - 1, 0), len(DEPTHS) - 2)
        return cls(
            tuple(dict.fromkeys((*BATCHES[:last], BATCHES[-1]))),
            tuple(dict.fromkeys((DEPTHS[0], *DEPTHS[here : here + 2]))),
            (PROMPTS[0], PROMPTS[-1]),
        )


WHOLE = Grid()


class Curve:
    """A piecewise linear function of one count through known points, continued in a straight line."""

    __slots__ = ("inner", "slopes", "xs", "ys")

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.xs, self.ys = tuple(map(float, xs)), tuple(ys)
        pairs = zip(self.xs, self.xs[1:], self.ys, self.ys[1:], strict=False)
        self.slopes = tuple((after - before) / (right - left) for left, right, before, after in pairs)
        self.inner = self.xs[1:-1]  # the first and the last line go on beyond their points

    def __call__(self, x: float) -> float:
        """The value at x."""
        index = bisect_right(self.inner, x)
        return self.ys[index] + self.slopes[index] * (x - self.xs[index])


AS_IT_IS = Curve((1, 2), (1.0, 1.0))
"""The scale of what nothing scales."""
