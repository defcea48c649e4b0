"""Newton steps of a fit: its curvature J' W J + penalty, never formed.

J is what moves each row by pattern times what each parameter moves of a pattern (`effects`). The square of the first,
weighed by row, has few places: rows of one engine on one card share their patterns. So a product with the curvature
takes three small sparse ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TOLERANCE = 5e-4
"""Of a step's linear system: what it leaves of a step, the next one takes up."""
MOST_TURNS = 300
"""Of the conjugate gradients, for one step."""


class Curvature:
    """The curvature at one place of a fit; `moved` has a row for each row of the fit and a column for each pattern."""

    def __init__(self, moved: Any, effects: Any, robust: Any, penalty: Any) -> None:
        import numpy as np

        weighed = moved.copy()
        weighed.data *= np.repeat(robust, np.diff(moved.indptr))
        self.by_pattern = (moved.T @ weighed).tocsr()
        self.effects, self.across, self.penalty = effects, effects.T.tocsr(), penalty
        self.squares = np.asarray(effects.multiply(self.by_pattern @ effects).sum(axis=0)).ravel()

    def step(self, slope: Any, damping: float) -> Any:
        """What solves (J' W J + penalty + damping) step = slope, the damping in proportion to the diagonal."""
        ridge = self.penalty + damping * (self.squares + self.penalty)
        effects, across, by_pattern = self.effects, self.across, self.by_pattern
        return _solved(lambda x: across @ (by_pattern @ (effects @ x)) + ridge * x, self.squares + ridge, slope)


def _solved(product: Callable[[Any], Any], diagonal: Any, wanted: Any) -> Any:
    """Conjugate gradients, preconditioned by the diagonal (Hestenes and Stiefel 1952)."""
    import numpy as np

    found, left, direction = np.zeros_like(wanted), wanted.copy(), np.zeros_like(wanted)
    least, along = TOLERANCE**2 * float(wanted @ wanted), 0.0
    for _ in range(MOST_TURNS):
        if float(left @ left) <= least:
            break
        toward = left / diagonal
        before, along = along, float(left @ toward)
        direction = toward + (along / before if before else 0.0) * direction
        bent = product(direction)
        far = along / float(direction @ bent)
        found += far * direction
        left -= far * bent
    return found
