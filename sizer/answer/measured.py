"""Measured rows beside a prediction: what others saw with this model on this device.

The rows are those of `data/nearby.tsv` (scored rows of `data/measurements.csv`, indexed by engine and device); their
cells are read from the table itself. The prediction is not made of them alone, and its interval not by them.
"""

from __future__ import annotations

import csv
from functools import cache

from sizer.answer.records import Estimate
from sizer.device.kinds import chip_of
from sizer.frozen import dataclass
from sizer.speed.kernels import precision_class
from sizer.speed.nearby import Row, lines_with
from sizer.tables import read_bytes

MOST_SHOWN = 3
"""Measured rows that stand beside an estimate: the nearest."""
LOOKED_AT = 6
"""Rows of the index that are read whole for each that is shown."""
SAME = ("model", "precision", "device", "engine")


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One measured speed, and what it has in common with the case (`same`: model, precision, device, engine)."""

    tokens_per_s: float
    device: str
    engine_version: str
    source: str
    date: str
    same: tuple[str, ...]
    id: str
    engine: str
    model: str
    precision: str
    prompt_tokens: int | None
    context_tokens: int | None


def measured_rows(estimate: Estimate, quantity: str, most: int = MOST_SHOWN) -> tuple[MeasuredRow, ...]:
    """The rows nearest to an estimate, `decode` or `prefill`: of its model on its device, the most alike first.

    Rows of several devices, or of a model partly on the host, stand beside no other; those of many sequences never do.
    """
    workload, target = estimate.workload, estimate.target
    if workload.batch_size > 1 or estimate.placement.host is not None or target.count > 1 or target.others:
        return ()
    if not target.device.key:
        return ()
    case = AskedPair(estimate.architecture.model_id, target.device.key, estimate.engine, estimate.precision)
    depth = workload.decode_context_tokens if quantity == "decode" else workload.prompt_tokens
    near = sorted(_rows(case.model, quantity, chip_of(case.device)), key=case.apart)[: LOOKED_AT * most]
    found = [one for row in near if (one := case.beside(row)) is not None]
    return tuple(sorted(found, key=lambda one: _distance(one, depth))[:most])


def measured_as_asked(estimate: Estimate) -> MeasuredRow | None:
    """The nearest decode row, where it was measured with this engine at this precision; None where none was."""
    rows = measured_rows(estimate, "decode", 1) if estimate.speed else ()
    return rows[0] if rows and {"precision", "engine"} <= set(rows[0].same) else None


def measured_of(model: str, device: str | None, precision: str, engine: str) -> tuple[tuple[str, MeasuredRow], ...]:
    """Every row of a model by quantity, those of the device, precision and engine first; a device asked for alone."""
    case = AskedPair(model, device or "", engine, precision)
    found = []
    for quantity in ("decode", "prefill"):
        rows = _rows(model, quantity, chip_of(device) if device else "")
        seen = [one for row in rows if (one := case.beside(row)) is not None]
        found += [(quantity, one) for one in sorted(seen, key=lambda one: (-len(one.same), one.device, one.id))]
    return tuple(found)


def _distance(one: MeasuredRow, depth: int) -> tuple[int, float]:
    seen = max(one.context_tokens or 0, one.prompt_tokens or 0) or 512
    weight = sum({"precision": 2, "engine": 1}.get(name, 0) for name in one.same)
    return -weight, abs(seen - depth) / max(seen, depth, 1)


@cache
def _rows(model: str, quantity: str, chip: str = "") -> tuple[Row, ...]:
    """The indexed rows of a model on one device each, of one chip where it is named; those of its catalogued name where
    only its shape is the same."""
    from sizer.model.read import catalogue

    entry = catalogue.find(model)
    named = lines_with((entry.model_id if entry else model).rpartition("/")[2], chip)
    return tuple(
        row for seen, row in named if seen == quantity and row.traits.link == "none 1" and row.traits.tokens == 0
    )


@dataclass(frozen=True, slots=True)
class AskedPair:
    """What measured rows are set beside: model, device key, engine, precision; empty where nothing was asked."""

    model: str
    device: str
    engine: str
    precision: str

    def on_device(self, row: Row) -> bool:
        """Whether a row is of this device's chip."""
        return bool(self.device) and row.traits.chip == chip_of(self.device)

    def apart(self, row: Row) -> tuple[bool, bool]:
        """What the index tells of how far a row lies: another kernel, another engine."""
        kernel = precision_class(self.precision)[0] if self.precision else ""
        return row.traits.kernel != kernel, not row.traits.pair.startswith(f"{self.engine} ")

    def beside(self, row: Row) -> MeasuredRow | None:
        """The row read whole, with what it has in common; None where the table holds it no more."""
        cells = _cells(row.id)
        if not cells:
            return None
        has = {"model": True, "device": self.on_device(row), "precision": _same_precision(cells, row, self.precision)}
        has["engine"] = bool(self.engine) and row.traits.pair.startswith(f"{self.engine} ")
        return _measured(cells, row, tuple(name for name in SAME if has[name]))


def _same_precision(cells: dict[str, str], row: Row, precision: str) -> bool:
    if not precision:
        return False
    told = cells["precision"]
    return told == precision if told else row.traits.kernel == precision_class(precision)[0]


def _measured(cells: dict[str, str], row: Row, same: tuple[str, ...]) -> MeasuredRow:
    return MeasuredRow(
        tokens_per_s=row.tokens_per_s,
        device=cells["device"],
        engine_version=cells["engine_version"],
        source=cells["source_url"],
        date=cells["source_date"],
        same=same,
        id=row.id,
        engine=cells["engine"],
        model=cells["model"],
        precision=cells["precision"] or cells["precision_as_printed"],
        prompt_tokens=int(float(cells["prompt_tokens"])) if cells["prompt_tokens"] else None,
        context_tokens=int(float(cells["context_tokens"])) if cells["context_tokens"] else None,
    )


@cache
def _table() -> bytes:
    return read_bytes("measurements.csv")


@cache
def _header() -> list[str]:
    return _table()[: _table().index(b"\n")].decode().split(",")


@cache
def _cells(name: str) -> dict[str, str]:
    """The cells of one row of the measurements by its id; empty where it is no row of the table."""
    text = _table()
    at = text.find(f"\n{name},".encode())
    if at < 0:
        return {}
    line = text[at + 1 : text.find(b"\n", at + 1)].decode()
    return dict(zip(_header(), next(csv.reader([line])), strict=True))
