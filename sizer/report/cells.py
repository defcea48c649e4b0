"""The cells of one load: a line each, measured beside predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sizer.benchmark.cell_runner import CellResult, record, residual
from sizer.benchmark.cells import Cell, CellMeasurement
from sizer.report.layout import Lay
from sizer.report.llama_bench import STYLE, of_cell, text_of
from sizer.report.outputs import Document, Rows
from sizer.units import format_rate

HEADERS = ("test", "batch", "tokens/s", "mean", "±", "predicted", "measured/predicted - 1")


def document(results: Sequence[CellResult], missing: Sequence[Cell], rows: Callable[[], Rows]) -> Document:
    """Cells as a document: JSON is a list, `rows` are those of the measurements format."""
    tests = (test for one in results for test in of_cell(one.measured, one.predicted))
    return Document(
        lambda: [record(one) for one in results],
        rows,
        lambda lay: _page(results, missing, lay),
        {STYLE: lambda: text_of(tests)},
    )


def _page(results: Sequence[CellResult], missing: Sequence[Cell], lay: Lay) -> str:
    first = results[0].measured
    weights = ", random weights" if first.random_weights else ""
    place = first.device_name or first.device
    lines = [f"{first.model} at {first.precision}{weights}: {first.engine} on {place}, {len(first.runs)} runs a cell"]
    lines += ["", lay(HEADERS, [_cells(one) for one in results]), ""]
    lines.append("tokens/s is the median: of one sequence for tg (output), of the whole batch for pp (prompt).")
    if missing:
        lines.append(f"Left out for want of time: {told(missing)}.")
    warned = dict.fromkeys(
        f"warning ({item.code}): {told([one.measured])}: {item.message} {item.remedy}"
        for one in results
        for item in one.measured.warnings
    )
    return "\n".join([*lines, *warned])


def told(cells: Sequence[Cell | CellMeasurement]) -> str:
    """The names of cells, with their batch where it is not 1."""
    return ", ".join(cell.name + (f" batch {cell.batch_size}" if cell.batch_size > 1 else "") for cell in cells)


def _cells(one: CellResult) -> list[str]:
    measured = one.measured
    speed = one.predicted.speed if one.predicted else None
    decode = measured.decode_tokens_per_s is not None
    shown = measured.decode_tokens_per_s or measured.prefill_tokens_per_s or 0.0
    rate = None if speed is None else (speed.decode if decode else speed.prefill).tokens_per_s
    off = residual(one)["decode" if decode else "prefill"]
    apart = measured.deviation_tokens_per_s
    return [
        measured.name,
        str(measured.batch_size),
        format_rate(shown),
        format_rate(measured.mean_tokens_per_s),
        "-" if apart is None else format_rate(apart),
        "-" if rate is None else format_rate(rate),
        "-" if off is None else f"{off:+.1%}",
    ]
