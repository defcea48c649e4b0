"""A day of arrivals over machines that each serve a known rate: the peak, and following it hour by hour."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from sizer.errors import InvalidInputFile
from sizer.serving.load import MOST_RATE
from sizer.serving.prices import Price
from sizer.serving.records import Day, Hour

MOST_HOURS = 24 * 366
"""A leap year."""
COLUMNS = ("rps", "requests")


def day_of(
    arrivals: Sequence[tuple[float, float]],
    rate_per_machine: float,
    price: Price | None,
    devices: int,
    output_tokens: int,
) -> Day:
    """The machines of each hour: its rate over what one machine serves within the limits, rounded up; and what the
    tokens cost with the machines' idle time in it."""
    hours = tuple(Hour(hour, rate, machines_for(rate, rate_per_machine)) for hour, rate in arrivals)
    peak = max(hour.machines for hour in hours)
    following = float(sum(hour.machines for hour in hours))
    each = price.usd_per_device_hour * devices if price else None
    days = len(hours) / 24
    requests = sum(hour.requests_per_s for hour in hours) * 3600
    millions = requests * output_tokens / 1e6 if peak else 0.0
    return Day(
        hours=hours,
        requests=requests,
        peak_machines=peak,
        machine_hours=following,
        usd_per_day_peak=each * peak * 24 if each is not None else None,
        usd_per_day_following=each * following / days if each is not None and days else None,
        usd_per_million_tokens_peak=each * peak * len(hours) / millions if each is not None and millions else None,
        usd_per_million_tokens_following=each * following / millions if each is not None and millions else None,
    )


def machines_for(needed: float, one_serves: float) -> int:
    """Machines that together serve what is needed: one at least for any load; 0 where one serves nothing."""
    return max(math.ceil(needed / one_serves - 1e-9), int(needed > 0)) if one_serves else 0


def read_arrivals(path: Path) -> list[tuple[float, float]]:
    """Requests a second by hour: a CSV with `hour` and `requests` (in that hour) or `rps`. InvalidInputFile else."""
    if path.exists() and not path.is_file():  # a device or a pipe may never end
        raise InvalidInputFile(
            f"{str(path)!r} is no file.", "Give a CSV file with the columns hour and requests, or rps."
        )
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = [row for _, row in zip(range(MOST_HOURS + 1), csv.DictReader(lines), strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputFile(f"{str(path)!r} is not a table of text: {error}.") from None
    column = next((name for name in COLUMNS if rows and name in rows[0]), None)
    if column is None or len(rows) > MOST_HOURS:
        raise InvalidInputFile(
            f"{str(path)!r} is no table of at most {MOST_HOURS:,} hours.",
            "Its columns are hour and requests (in that hour), or hour and rps.",
        )
    return [_hour(row, number, column, path) for number, row in enumerate(rows)]


def _hour(row: dict[str, str], number: int, column: str, path: Path) -> tuple[float, float]:
    try:
        hour, figure = float(row.get("hour") or number), float(row[column] or "nan")
    except (TypeError, ValueError):
        hour = figure = math.nan
    rate = figure / 3600 if column == "requests" else figure
    if not (0 <= rate <= MOST_RATE and math.isfinite(hour)):
        raise InvalidInputFile(f"{str(path)!r}: row {number + 1} has no {column} that can arrive: {row.get(column)!r}.")
    return hour, rate
