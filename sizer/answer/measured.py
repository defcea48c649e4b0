"""Measured rows beside a prediction: what others saw with this model on this device.

The rows are those of `data/nearby.tsv` (scored rows of `data/measurements.csv`, indexed by engine and device); their
cells are read from the table itself. The prediction is not made of them alone, and its interval not by them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from sizer.answer.records import Estimate
from sizer.engine.engines import find_engine
from sizer.speed.case import precision_class
from sizer.speed.nearby import Row, chip_of, lines_with
from sizer.tables import data_path

MOST_SHOWN = 3
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
    workload = estimate.workload
    if workload.batch_size > 1 or estimate.placement.host is not None:
        return ()
    device = estimate.target.device.key if estimate.target.count == 1 and not estimate.target.others else ""
    case = (estimate.architecture.model_id, device, estimate.engine, estimate.precision)
    depth = workload.decode_context_tokens if quantity == "decode" else workload.prompt_tokens
    found = [one for one in _candidates(case, quantity) if {"model", "device"} <= set(one.same)]
    return tuple(sorted(found, key=lambda one: _distance(one, depth))[:most])


def measured_of(model: str, device: str | None, precision: str, engine: str) -> tuple[tuple[str, MeasuredRow], ...]:
    """Every row of a model by quantity, those of the device, precision and engine first; a device asked for alone."""
    found = []
    for quantity in ("decode", "prefill"):
        rows = _candidates((model, device or "", engine, precision), quantity)
        rows = tuple(one for one in rows if not device or "device" in one.same)
        found += [(quantity, one) for one in sorted(rows, key=lambda one: (-len(one.same), one.device, one.id))]
    return tuple(found)


def _distance(one: MeasuredRow, depth: int) -> tuple[int, float]:
    seen = max(one.context_tokens or 0, one.prompt_tokens or 0) or 512
    weight = sum({"precision": 2, "engine": 1}.get(name, 0) for name in one.same)
    return -weight, abs(seen - depth) / max(seen, depth, 1)


@cache
def _candidates(case: tuple[str, str, str, str], quantity: str) -> tuple[MeasuredRow, ...]:
    """The rows of a case's model, read whole."""
    from sizer.model.read import catalogue

    model, device, engine, precision = case
    entry = catalogue.find(model)  # rows of a model of the same shape are rows of its catalogued one
    found = []
    for seen, row in lines_with((entry.model_id if entry else model).rpartition("/")[2]):
        if seen != quantity or row.traits.link != "none 1":
            continue
        same = ["model"]
        cells = _cells(row.id)
        if not cells:
            continue
        if _same_precision(cells, row, precision):
            same.append("precision")
        if device and row.traits.pair.endswith(f" {chip_of(device)}"):
            same.append("device")
        if cells["engine"] and find_engine(cells["engine"]).name == engine:
            same.append("engine")
        found.append(_measured(cells, row, tuple(name for name in SAME if name in same)))
    return tuple(found)


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
def _table() -> str:
    return data_path("measurements.csv").read_text(encoding="utf-8")


@cache
def _header() -> list[str]:
    return _table().split("\n", 1)[0].split(",")


def _cells(name: str) -> dict[str, str]:
    """The cells of one row of the measurements by its id; empty where it is no row of the table."""
    text = _table()
    at = text.find(f"\n{name},")
    if at < 0:
        return {}
    line = text[at + 1 : text.find("\n", at + 1)]
    return dict(zip(_header(), next(csv.reader([line])), strict=True))
