"""The steps of a fit solve the system that they tell, and patterns of parameters sum to what cells do."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
sparse = pytest.importorskip("scipy.sparse")

from sizer.calibrate.curvature import TOLERANCE, Curvature  # noqa: E402 - after the skips above


@pytest.mark.parametrize("damping", [0.0, 0.1, 10.0])
def test_a_step_solves_the_damped_system(damping: float) -> None:
    """Against the dense matrix: of 40 rows, 12 patterns and 30 parameters, some of which no pattern has."""
    drawn = np.random.default_rng(7)
    moved = sparse.random(40, 12, 0.3, random_state=1, format="csr")
    effects = (sparse.random(12, 30, 0.2, random_state=2, format="csr") > 0).astype(float)
    robust, penalty, slope = drawn.random(40), 0.1 + drawn.random(30), drawn.standard_normal(30)
    jacobian = (moved @ effects).toarray()
    squares = jacobian.T @ (robust[:, None] * jacobian)
    damped = squares + np.diag(penalty + damping * (np.diag(squares) + penalty))
    curvature = Curvature(moved, effects, robust, penalty)
    assert curvature.squares == pytest.approx(np.diag(squares))
    left = damped @ curvature.step(slope, damping) - slope
    assert np.linalg.norm(left) <= 1.001 * TOLERANCE * np.linalg.norm(slope)


def test_nothing_to_gain_is_no_step() -> None:
    """At the least place of a fit the slope is 0."""
    curvature = Curvature(sparse.eye(3, format="csr"), sparse.eye(3, format="csr"), np.ones(3), np.ones(3))
    assert not curvature.step(np.zeros(3), 0.001).any()
