"""What a few rows are too few for: said for each quantity, while the rest is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from sizer.calibrate.heldout import SCHEMES, Residual
from sizer.calibrate.intervals import ENOUGH_TO_STRETCH
from sizer.calibrate.measurements import ReadRow
from sizer.calibrate.observation import Observation
from sizer.calibrate.observations import observe_row
from sizer.errors import SizerError


def can_leave_out(rows: Sequence[Observation], key: Callable[[Observation], str]) -> bool:
    """Whether rows are left to fit when the rows of one device, model or source are held out."""
    return len({key(row) for row in rows}) > 1


def sets_intervals(residuals: Mapping[str, Sequence[Residual]]) -> bool:
    """Whether the errors of a quantity are enough for widths of their own: by fewer, each group's is a guess."""
    return sum(map(len, residuals.values())) >= ENOUGH_TO_STRETCH


def too_few(quantity: str, rows: Sequence[Observation], residuals: Mapping[str, Sequence[Residual]]) -> Iterator[str]:
    """A sentence for each thing that the rows of a quantity are too few for."""
    if not rows:
        yield f"{quantity}: no row teaches it; its constants and intervals stay those of this version."
        return
    for scheme, key in SCHEMES.items():
        if not can_leave_out(rows, key):
            yield f"{quantity}: all rows ({len(rows)}) have one {scheme}; errors with a {scheme} left out need two."
    if not sets_intervals(residuals):
        held = sum(map(len, residuals.values()))
        yield (
            f"{quantity}: {held} held-out errors, and intervals need {ENOUGH_TO_STRETCH} ({rows_needed()} rows, "
            "each left out in three ways); they stay those of this version."
        )


def rows_needed() -> int:
    """Rows that set intervals, where each can be left out in every way."""
    return ENOUGH_TO_STRETCH // len(SCHEMES)


def why_none(rows: Sequence[ReadRow]) -> str:
    """Why the first row that teaches nothing does not."""
    for row in rows:
        try:
            seen = observe_row(row)
        except SizerError as error:
            return f"{row.id}: {error.message}"
        odd = next((one.odd for one in seen if one.odd), "")
        if odd or not seen:
            return f"{row.id}: {odd or 'no measured speed'}"
    return "all are flagged as measuring something else" if rows else "it has no rows"
