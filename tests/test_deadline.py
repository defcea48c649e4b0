"""A call with a deadline gives its answer, its error, or is given up."""

from __future__ import annotations

import threading

import pytest

from sizer.deadline import DeadlinePassed, in_time


def test_the_answer_comes_as_it_is() -> None:
    """What the call gives is given on, None too."""
    assert in_time(lambda: 7, 10) == 7
    assert in_time(lambda: None, 10) is None


def test_what_the_call_raises_is_raised_here() -> None:
    """A TimeoutError of the call's own is not taken for the deadline."""

    def refused() -> int:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        in_time(refused, 10)


def test_a_call_that_drips_is_given_up() -> None:
    """The caller goes on at the deadline, not at the call's end."""
    released, ended = threading.Event(), threading.Event()

    def drips() -> None:
        released.wait(300)
        ended.set()

    with pytest.raises(DeadlinePassed):
        in_time(drips, 0.05)
    assert not ended.is_set()
    released.set()
