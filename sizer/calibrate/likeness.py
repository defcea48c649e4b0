"""What measured rows say of cases like them: the weights of `sizer.speed.nearby`, solved for each engine on a die.

The logarithms of measured over predicted speed are taken for a Gaussian process of mean 0 whose covariance is the
likeness of two rows, each measured with noise of its own. A case's expected one is the sum of likeness times weight,
where the weights w solve (likeness + noise) w = ratios (Rasmussen and Williams 2006, eq. 2.25).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sizer.calibrate.observation import Observation
from sizer.speed.nearby import NEAR, Row, likeness
from sizer.speed.records import NONE, Correction
from sizer.tuning import tuned

ENOUGH = 3
"""Rows that lie far from the others of their pair are believed from this many alike on."""
SPEAKING = frozenset({"", "aggregate", "aggregate requests", "verification"})
"""Rows that speak for others: those that are scored, and those of several tokens a step."""


class Alike:
    """The rows of one quantity by engine and die, how alike those of each pair are, and which are of one chip."""

    def __init__(self, rows: Sequence[Observation]) -> None:
        import numpy as np

        self.rows = rows
        members: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            if not row.hosted and row.traits is not None:
                members[row.traits.pair].append(number)
        self.members = {pair: np.array(numbers) for pair, numbers in members.items()}
        self.speaks = np.array([row.apart in SPEAKING for row in rows])
        self.likes = {pair: self._likes(numbers) for pair, numbers in members.items()}
        self.chips = {pair: self._chips(numbers) for pair, numbers in members.items()}

    def _likes(self, numbers: Sequence[int]) -> Any:
        import numpy as np

        like_of, found = likeness(), np.eye(len(numbers))
        seen = [traits for number in numbers if (traits := self.rows[number].traits) is not None]
        for at, one in enumerate(seen):
            for before in range(at):
                found[at, before] = found[before, at] = like_of.between(one, seen[before])
        return found

    def _chips(self, numbers: Sequence[int]) -> Any:
        """Which rows of a die are of the same chip."""
        import numpy as np

        chips = np.array([traits.chip for number in numbers if (traits := self.rows[number].traits) is not None])
        return chips[:, None] == chips[None, :]

    def weights(self, ratios: Any, held: Any = None) -> dict[str, Any]:
        """Each pair's weights by row, for ratios of all rows: 0 for rows that are held out and for those that do not
        speak. A ratio beyond the bound counts as one there, and one that stands alone far from the others as none."""
        import numpy as np

        held = np.zeros(len(self.rows), dtype=bool) if held is None else held
        return {pair: self._weights(pair, ratios, held) for pair in self.members}

    def _weights(self, pair: str, ratios: Any, held: Any) -> Any:
        import numpy as np

        numbers, bound, noise = self.members[pair], tuned("like_bound"), tuned("like_noise")
        speaks = self.speaks[numbers] & ~held[numbers]
        speaks = speaks & ~self._alone(pair, ratios[numbers], speaks)
        among = self.likes[pair][np.ix_(speaks, speaks)]
        kept = np.clip(ratios[numbers[speaks]], -bound, bound)
        weights = np.zeros(len(numbers))
        weights[speaks] = np.linalg.solve(among + noise * np.eye(len(kept)), kept)
        return weights

    def _alone(self, pair: str, ratios: Any, speaks: Any) -> Any:
        """Which of a pair's rows lie far from the middle of those that speak, with fewer than three like
        them on the same side: what one machine did once says nothing of others."""
        import numpy as np

        if not speaks.any():
            return np.zeros(len(speaks), dtype=bool)
        apart = ratios - np.median(ratios[speaks])
        far, same_side = np.abs(apart) > tuned("like_far"), np.sign(apart)[:, None] == np.sign(apart)[None, :]
        like_it = (self.likes[pair] >= NEAR) & same_side & (far & speaks)[None, :]
        return far & (like_it.sum(axis=1) < ENOUGH)

    def corrections(self, ratios: Any, held: Any) -> dict[int, Correction]:
        """What the rows that are not held out say of each that is, by its number."""
        found = dict.fromkeys([number for number, out in enumerate(held) if out], NONE)
        for pair, numbers in self.members.items():
            if not held[numbers].any() or held[numbers].all():
                continue  # nothing is asked of these rows, or none is left to say anything
            weights = self._weights(pair, ratios, held)
            likes, heard = self.likes[pair], weights != 0
            said, near = likes @ weights, (likes[:, heard] >= NEAR).sum(axis=1)
            nearest = (likes * self.chips[pair])[:, heard].max(axis=1, initial=0.0)
            for at, number in enumerate(numbers):
                if held[number]:
                    found[int(number)] = Correction(float(said[at]), int(near[at]), float(nearest[at]))
        return found

    def spoken(self, ratios: Any) -> list[Row]:
        """The rows that speak, with their weights: what `data/nearby.tsv` holds."""
        weights = self.weights(ratios)
        return [
            Row(row.traits, float(weight), row.id, row.tokens_per_s)
            for pair, numbers in self.members.items()
            for number, weight in zip(numbers, weights[pair], strict=True)
            if (row := self.rows[number]).traits is not None and self.speaks[number]
        ]
