"""The time of one step of a server: some sequences decode, and a piece of a prompt may be read beside them.

A scheduler asks for many such times. They are computed by the law at the points of a grid, each once, and between its
points by proportion: a step's time bends nowhere much within a cell, for a cell's sides are a fifth apart at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from sizer.speed.case import SpeedCase
from sizer.speed.law import Constants, constants
from sizer.speed.predict import timed
from sizer.speed.terms import decode_amounts, prefill_amounts
from sizer.speed.traffic import decode_traffic, prefill_traffic
from sizer.workload import Workload

EXACT_UP_TO, GROWTH, LARGEST = 16, 1.2, 10_000_000


class StepTimes:
    """Seconds of the steps of one model on one target with one engine. Counts are whole tokens and sequences."""

    def __init__(self, case: SpeedCase, fitted: Constants | None = None) -> None:
        self.case = case
        self.fitted = fitted or constants()
        self._decode: dict[tuple[int, int], float] = {}
        self._prefill: dict[tuple[int, int], float] = {}

    def decode_s(self, sequences: int, context_tokens: int) -> float:
        """A step that decodes one token of each sequence, with `context_tokens` in each cache on average."""
        if sequences < 1:
            return 0.0
        return _between(self._decode_at, sequences, context_tokens)

    def prefill_s(self, tokens: int, cached_tokens: int = 0) -> float:
        """A step that reads `tokens` of one prompt, behind `cached_tokens` already read."""
        if tokens < 1:
            return 0.0
        return _between(self._prefill_at, tokens, cached_tokens)

    def mixed_s(self, sequences: int, context_tokens: int, prefill_tokens: int, cached_tokens: int = 0) -> float:
        """A step that does both: weights are read once for all, so decoding adds its caches and its tokens' products.

        A decode step's share beyond that with empty caches is its own; its tokens join the prompt's. Never less than
        either step alone.
        """
        if sequences < 1 or prefill_tokens < 1:
            return self.decode_s(sequences, context_tokens) + self.prefill_s(prefill_tokens, cached_tokens)
        alone = self.decode_s(sequences, context_tokens)
        joined = self.prefill_s(prefill_tokens + sequences, cached_tokens)
        return max(alone, joined + alone - self.decode_s(sequences, 0))

    def _decode_at(self, sequences: int, context_tokens: int) -> float:
        found = self._decode.get((sequences, context_tokens))
        if found is None:
            case = self._with(max(1, context_tokens), sequences)
            traffic = decode_traffic(case.architecture, case.stored, case.workload)
            found = timed(decode_amounts(case, traffic), case, self.fitted).total_s
            self._decode[sequences, context_tokens] = found
        return found

    def _prefill_at(self, tokens: int, cached_tokens: int) -> float:
        found = self._prefill.get((tokens, cached_tokens))
        if found is None:
            case = self._with(tokens, 1)
            traffic = prefill_traffic(
                case.architecture,
                case.stored,
                case.workload,
                cached_tokens=cached_tokens,
                latent_absorbed=case.engine.latent_prefill == "absorbed",
            )
            found = timed(prefill_amounts(case, traffic, 1), case, self.fitted).total_s
            self._prefill[tokens, cached_tokens] = found
        return found

    def _with(self, prompt_tokens: int, sequences: int) -> SpeedCase:
        asked = self.case.workload
        workload: Workload = replace(
            asked, prompt_tokens=prompt_tokens, output_tokens=1, context_tokens=prompt_tokens + 1, batch_size=sequences
        )
        return replace(self.case, workload=workload)


@cache
def _grid() -> tuple[int, ...]:
    """0, 1, 2 … 16, then each a fifth more than the one before."""
    points = list(range(EXACT_UP_TO + 1))
    while points[-1] < LARGEST:
        points.append(max(points[-1] + 1, round(points[-1] * GROWTH)))
    return tuple(points)


def _cell(value: int) -> tuple[int, int, float]:
    """The grid points around a value, and how far it lies from the first toward the second."""
    grid = _grid()
    at = min(bisect_right(grid, value), len(grid) - 1)
    low, high = grid[at - 1], grid[at]
    return low, high, min(1.0, max(0.0, (value - low) / (high - low)))


def _between(exact: Callable[[int, int], float], first: int, second: int) -> float:
    """A function of two counts by proportion between the grid points around them; `first` is at least 1."""
    low, high, along = _cell(first)
    left, right, across = _cell(second)

    def row(value: int) -> float:
        near = exact(value, left)
        return near if not across else near + across * (exact(value, right) - near)

    start = row(low)
    return start if not along else start + along * (row(high) - start)
