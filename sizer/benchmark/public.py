"""What a user gets of a benchmark: typed records whose fields are the names of the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.answer.document import Answer
from sizer.answer.public import answer
from sizer.answer.records import Estimate
from sizer.benchmark.cells import CellMeasurement
from sizer.benchmark.records import SCHEMA_VERSION, Measurement
from sizer.benchmark.summary import residual
from sizer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A measurement beside its estimate; `residual` is measured/predicted - 1, `mbu` the share of bandwidth used.

    `estimate` is empty where none could be made.
    """

    schema_version: int
    measurement: Measurement
    estimate: Answer | Mapping[str, Any]
    residual: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class CellBenchmark:
    """A cell of a load beside its estimate, as `Benchmark` has one generation."""

    schema_version: int
    measurement: CellMeasurement
    estimate: Answer | Mapping[str, Any]
    residual: Mapping[str, float | None]


def benchmark(measured: Measurement, predicted: Estimate | None) -> Benchmark:
    """The public record of one benchmark."""
    beside: Answer | Mapping[str, Any] = answer([predicted]) if predicted else {}
    return Benchmark(SCHEMA_VERSION, measured, beside, residual(measured, predicted))
