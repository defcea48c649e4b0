"""What a machine costs an hour: rows of `data/prices.csv` (on demand, dated, sourced), or the user's own figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache

from sizer.device.records import Target
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.tables import read_rows

MOST_USD = 1e6
"""Dollars an hour beyond which a price is a slip."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour of one device, and where that stands."""

    usd_per_device_hour: float
    cloud: str = ""
    instance: str = ""
    region: str = ""
    date: str = ""
    source: str = ""
    offers: int = 0
    lowest: float = 0.0
    highest: float = 0.0

    @property
    def words(self) -> str:
        """`$3.99 an hour a device: runpod H100 SXM (secure cloud, 2026-10-10); the median of 24 offers ...`."""
        text = f"${self.usd_per_device_hour:.2f} an hour a device"
        if not self.cloud:
            return f"{text}, as given"
        place = ", ".join(part for part in (self.region, self.date) if part)
        spread = ""
        if self.offers > 1:
            spread = f"; the median of {self.offers} offers from ${self.lowest:.2f} to ${self.highest:.2f}"
        return f"{text}: {self.cloud} {self.instance} ({place}){spread}"


def _instance(target: Target) -> str:
    """The instance that was asked for, folded; empty for a device by its name, which some cloud calls its instance
    (`h100`, Yotta's)."""
    from sizer.device.lookup import find_row

    cloud, colon, instance = target.asked.partition(":")
    return instance.strip().casefold() if colon else "" if find_row(cloud) else cloud.strip().casefold()


@cache
def _offers() -> Mapping[str, tuple[Price, ...]]:
    found: dict[str, list[Price]] = {}
    for row in read_rows("prices.csv"):
        if row["device_key"] and row["usd_per_hour"] and int(row["count"] or 0):
            each = float(row["usd_per_hour"]) / int(row["count"])
            price = Price(each, row["cloud"], row["instance"], row["region"], row["date"], row["source"])
            found.setdefault(row["device_key"], []).append(price)
    return {key: tuple(sorted(prices, key=lambda one: one.usd_per_device_hour)) for key, prices in found.items()}


def price_of(target: Target, stated: Mapping[str, float] | None = None) -> Price | None:
    """The price of a target's devices: as stated, its own instance's, else the median offer of its device; or None.

    The median is one real row: the lower middle one of all on-demand offers of that device, by the hour and device.
    """
    for key, usd in (stated or {}).items():
        if key in {"", target.device.key}:
            return Price(usd)
    offers = _offers().get(target.device.key, ())
    own = [offer for offer in offers if offer.instance.casefold() == _instance(target)]
    if own:
        return own[0]
    if not offers:
        return None
    middle = offers[(len(offers) - 1) // 2]
    prices = [offer.usd_per_device_hour for offer in offers]
    return Price(
        middle.usd_per_device_hour, middle.cloud, middle.instance, middle.region, middle.date, middle.source,
        len(offers), prices[0], prices[-1],
    )  # fmt: skip


def stated_prices(texts: Iterable[str]) -> dict[str, float]:
    """`h100=2.10` or `2.10` (any device) as USD a device hour by device key. Raises UsageError for other text."""
    from sizer.device.catalogue import find

    found = {}
    for text in texts:
        name, equals, figure = text.rpartition("=")
        try:
            usd = float(figure.strip().lstrip("$"))
        except ValueError:
            usd = math.nan
        if not (0 <= usd <= MOST_USD) or (equals and not name.strip()):
            raise UsageError(f"--price {text!r} is no price.", "Write --price h100=2.10, USD an hour and device.")
        found[find(name.strip()).device.key if equals else ""] = usd
    return found
