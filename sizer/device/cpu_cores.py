"""The cores of a CPU and their highest clock: its part number tells.

`data/cpu_cores.csv` holds parts whose generation `data/cpu_families.csv` knows, as their makers specify them (collected
in github.com/felixsteinke/cpu-spec-dataset, commit 4c08d88, and github.com/toUpperCase78/intel-processors, commit
e46dc8a).
"""

from __future__ import annotations

from functools import cache

from sizer.device.spelling import folded
from sizer.frozen import NamedTuple
from sizer.regex import pattern
from sizer.tables import read_rows

_VERSION = pattern(r"\s+(?=v\d\b)")


class Cores(NamedTuple):
    """Cores of a part, those of its efficient kind among them, and the highest clock of one."""

    performance: int
    efficient: int
    clock_hz: float

    @property
    def total(self) -> int:
        """All of them."""
        return self.performance + self.efficient


@cache
def _parts() -> dict[tuple[str, str], Cores]:
    return {
        (row["vendor"], row["part"]): Cores(
            int(row["performance_cores"]), int(row["efficient_cores"]), float(row["ghz"]) * 1e9
        )
        for row in read_rows("cpu_cores.csv")
    }


def cores_of(vendor: str, text: str) -> Cores | None:
    """The cores of the part that a text names (`Intel Xeon E5-2697 v2`, `AMD Ryzen 9 5900HX`); None for no known part.

    A part number that stands for two parts of one vendor is in no row.
    """
    words = _VERSION.sub("", folded(text)).replace(",", " ").split()
    known = [found for word in words if (found := _parts().get((vendor, word)))]
    return known[0] if len(known) == 1 else None
