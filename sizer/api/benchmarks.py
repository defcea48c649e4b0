"""Benchmarks in Python: one generation, the cells of lists in one load, or a load test of a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from sizer.benchmark.load.runner import LoadTest
    from sizer.benchmark.public import Benchmark, CellBenchmark

Say = Callable[[str], None]
LISTED = ("prompt_tokens", "output_tokens", "depth_tokens", "batch_size")


@overload
def bench(model: str = "", *, users: Sequence[int], **options: Any) -> LoadTest: ...
@overload
def bench(model: str = "", *, rates_per_s: Sequence[float], **options: Any) -> LoadTest: ...
@overload
def bench(model: str = "", *, prompt_tokens: Sequence[int], **options: Any) -> tuple[CellBenchmark, ...]: ...
@overload
def bench(model: str = "", *, depth_tokens: Sequence[int], **options: Any) -> tuple[CellBenchmark, ...]: ...
@overload
def bench(model: str = "", **options: Any) -> Benchmark: ...
def bench(
    model: str = "",
    *,
    timeout_s: float = 3600,
    force: bool = False,
    progress: Say | None = None,
    **options: Any,
) -> Benchmark | tuple[CellBenchmark, ...] | LoadTest:
    """Load a model, generate, and set what was measured beside what was predicted, as `sizer bench` does.

    `options` are the fields of `sizer.benchmark.plan.Asked`: precision, engine, device, prompt_tokens, output_tokens,
    batch_size, repeats, random_weights, server_url ... Without a model a small catalogued one runs with random weights.
    Sequences of prompt_tokens, output_tokens, depth_tokens or batch_size, and `budget_s`, measure a cell for each in
    one load: a tuple of records, without those that the budget left out. `users` or `rates_per_s` make a load test of
    `server_url`, whose other options are the fields of `sizer.benchmark.load.asked.LoadAsked`; prompt_tokens and
    output_tokens may then be text, as `256-1k`, `requests` a file's path, and `save_to` the file of its rows.
    Raises BenchmarkFailed, DoesNotFit (unless `force`), UsageError.
    """
    say: Say = progress or (lambda _stage: None)
    if options.get("users") or options.get("rates_per_s"):
        return _load(model, timeout_s, say, options)
    if "budget_s" in options or "depth_tokens" in options or any(_several(options.get(name)) for name in LISTED):
        return _cells(model, timeout_s, force, say, options)
    from sizer.benchmark import runner
    from sizer.benchmark.plan import Asked
    from sizer.benchmark.public import benchmark

    result = runner.bench(Asked(model=model, **options), timeout_s=timeout_s, force=force, progress=say)
    return benchmark(result.measured, result.predicted)


def _several(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _cells(
    model: str, timeout_s: float, force: bool, say: Say, options: Mapping[str, Any]
) -> tuple[CellBenchmark, ...]:
    """Lists of lengths, depths and batches, measured in one load."""
    from sizer.benchmark.cell_runner import bench_cells, record
    from sizer.benchmark.cells import cells_of
    from sizer.benchmark.plan import Asked

    usual = {"prompt_tokens": 512, "output_tokens": 128, "depth_tokens": 0, "batch_size": 1}
    told = (options.get(name, usual[name]) for name in LISTED)
    prompts, outputs, depths, batches = (tuple(value) if _several(value) else (value,) for value in told)
    rest = {name: value for name, value in options.items() if name not in {*LISTED, "budget_s"}}
    found, _ = bench_cells(
        Asked(model=model, batch_size=max(batches), **rest),
        cells_of(prompts, outputs, depths, batches),
        timeout_s=timeout_s,
        budget_s=options.get("budget_s"),
        force=force,
        progress=say,
    )
    return tuple(map(record, found))


def _load(model: str, timeout_s: float, say: Say, options: Mapping[str, Any]) -> LoadTest:
    from sizer.benchmark.load.asked import LoadAsked, with_requests
    from sizer.benchmark.load.requests import Lengths
    from sizer.benchmark.load.runner import bench_load
    from sizer.serving.records import Limits

    fields: dict[str, Any] = {**options, "model": model, "timeout_s": timeout_s}
    save_to, requests = fields.pop("save_to", None), fields.pop("requests", None)
    for name, option in (("prompt", "prompt_tokens"), ("output", "output_tokens")):
        if option in fields:
            fields[name] = Lengths.parse(str(fields.pop(option)))
    limits = Limits(fields.pop("ttft_s", None), fields.pop("tpot_s", None))
    users, rates = (tuple(fields.pop(name, ())) for name in ("users", "rates_per_s"))
    asked = LoadAsked(fields.pop("server_url", ""), users, rates, limits=limits, **fields)
    asked = with_requests(asked, Path(requests) if requests else None)
    return bench_load(asked, Path(save_to) if save_to else None, say)
