"""Work that is shared out over processors."""

from __future__ import annotations

import pytest

from sizer.calibrate.workers import in_order


@pytest.mark.parametrize("most", [1, 3, None])
def test_answers_come_in_the_order_of_what_was_asked(most: int | None) -> None:
    """However many do the work, and though it is a function of this very place."""
    factor = 3
    assert list(in_order(lambda item: item * factor, range(20), most)) == [item * factor for item in range(20)]


def test_a_failure_is_the_caller_s() -> None:
    """What fails in a copy of the process fails here."""
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 0], 2))
