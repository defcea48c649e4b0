"""Lists from question to result: one load, its cells, each beside its own prediction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sizer.answer.public import answer
from sizer.benchmark.backends import BACKENDS
from sizer.benchmark.cells import Cell, CellMeasurement, left_out, measured_cells
from sizer.benchmark.child import Progress, measure
from sizer.benchmark.plan import Asked, refuse_what_cannot_fit, spec_of
from sizer.benchmark.predict import predict
from sizer.benchmark.public import CellBenchmark
from sizer.benchmark.records import SCHEMA_VERSION, Measurement, Run, Spec
from sizer.benchmark.runner import machine, resolve_asked, with_found_threads
from sizer.benchmark.summary import bandwidth_used, ratio
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.version import package_version

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.model.read.resolve import Resolved


@dataclass(frozen=True)
class CellResult:
    """A cell's measurement, and the estimate it is set beside (None where none could be made)."""

    measured: CellMeasurement
    predicted: Estimate | None


def bench_cells(
    asked: Asked,
    cells: Sequence[Cell],
    *,
    timeout_s: float,
    budget_s: float | None = None,
    force: bool = False,
    progress: Progress,
) -> tuple[list[CellResult], list[Cell]]:
    """Load once, measure every cell that the budget (seconds from now, loading included) allows; those it left out.

    Raises DoesNotFit where the largest cell cannot fit and nothing forces it, BenchmarkFailed, UsageError.
    """
    ends_s = None if budget_s is None else time.time() + budget_s
    resolved = resolve_asked(asked)
    spec = with_found_threads(spec_of(asked, resolved))
    if not BACKENDS[spec.backend].starts or spec.parallelism:
        raise UsageError(
            "Lists, --depth and --budget are for one machine, without --server and --parallel.",
            "A server takes --concurrency, or --users and --rate.",
        )
    if not force:
        largest = max(cells, key=lambda cell: cell.batch_size * (cell.depth_tokens + cell.tokens))
        refuse_what_cannot_fit(_predicted(asked, spec, resolved, replace(largest, depth_tokens=0)), asked)
    spec = replace(spec, cells=tuple(asdict(cell) for cell in cells), ends_s=ends_s)
    outcome = measure(spec, timeout_s, progress)
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    found = measured_cells(spec, outcome, machine(), now)
    ran = replace(spec, precision=outcome.precision)
    results = [CellResult(measured, _predicted(asked, ran, resolved, cell)) for cell, measured in found]
    return results, left_out(spec, [cell for cell, _ in found])


def _predicted(asked: Asked, spec: Spec, resolved: Resolved | None, cell: Cell) -> Estimate | None:
    """The estimate of a cell: of a prompt behind a depth, the prompt's with the speed that it has there."""
    prompt = cell.prompt_tokens or max(1, cell.depth_tokens)
    one = replace(spec, prompt_tokens=prompt, output_tokens=max(2, cell.output_tokens), batch_size=cell.batch_size)
    found = predict(asked, one, resolved, spec.backend)
    behind = cell.depth_tokens if cell.prompt_tokens else 0
    return found if found is None or found.speed is None or not behind else _behind(found, behind)


def _behind(found: Estimate, depth_tokens: int) -> Estimate:
    """An estimate whose prompt is read behind so many tokens in the cache, and slower by what the law says of that."""
    from sizer.speed.case import speed_case
    from sizer.speed.law import constants
    from sizer.speed.predict import prefill_of

    case = speed_case(
        found.architecture, found.stored, found.target, found.workload, found.engine, placement=found.placement
    )
    alone, deep = (prefill_of(case, constants(), tokens)[0].tokens_per_s for tokens in (0, depth_tokens))
    assert found.speed is not None
    told, share = found.speed.prefill, deep / alone
    ends = [None if end is None else end * share for end in (told.low_tokens_per_s, told.high_tokens_per_s)]
    slower = told._replace(
        tokens_per_s=told.tokens_per_s * share,
        low_tokens_per_s=ends[0],
        high_tokens_per_s=ends[1],
        ttft_s=told.ttft_s / share,
    )
    return replace(found, speed=found.speed._replace(prefill=slower))


def residual(result: CellResult) -> dict[str, float | None]:
    """measured / predicted - 1 of the speed that the cell times. The peak of memory is that of all cells together."""
    measured, predicted = result.measured, result.predicted
    speed = predicted.speed if predicted else None
    decode = ratio(measured.decode_tokens_per_s, speed.decode.tokens_per_s if speed else None)
    prefill = ratio(measured.prefill_tokens_per_s, speed.prefill.tokens_per_s if speed else None)
    used = None
    if predicted is not None and measured.decode_tokens_per_s is not None:
        used = bandwidth_used(measured.decode_tokens_per_s, predicted)
    return {"decode": decode, "prefill": prefill, "memory": None, "mbu": used}


def record(result: CellResult) -> CellBenchmark:
    """The public record of a cell: the keys of a benchmark."""
    beside: Any = answer([result.predicted]) if result.predicted else {}
    return CellBenchmark(SCHEMA_VERSION, result.measured, beside, residual(result))


def row_of_cell(result: CellResult, number: int) -> dict[str, str]:
    """A cell as a row of the measurements format, as a llama-bench test stands there: a depth is the context."""
    from sizer.benchmark.save import row

    told = asdict(result.measured)
    shared = {name: told[name] for name in Measurement.__dataclass_fields__ if name in told}
    shared |= {
        "warnings": result.measured.warnings,
        "runs": tuple(Run(run["prefill_s"] or 0.0, run["decode_s"] or 0.0) for run in result.measured.runs),
        **{name: told[name] or 0.0 for name in _SPEEDS},
    }
    made = row(Measurement(**shared), result.predicted, package_version())
    untimed = "decode_tokens_per_s" if result.measured.prefill_tokens_per_s else "prefill_tokens_per_s"
    empty = {name: "" for name in ("prompt_tokens", "output_tokens") if not told[name]}
    return {
        **made,
        "id": f"{made['id']}-{number}",
        "context_tokens": str(result.measured.depth_tokens),
        untimed: "",
        "memory_gib": "",  # the peak is that of all cells together
        **empty,
    }


_SPEEDS = ("decode_tokens_per_s", "prefill_tokens_per_s", "ttft_s", "tpot_s")
