"""`sizer bench`: measured tokens/s and peak memory, beside the prediction."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sizer.cli.bench_lists import BATCH_LIST, DEPTH_LIST, LENGTH_LIST, RATE_LIST, USER_LIST
from sizer.cli.common import SECONDS, Threshold, echo, output_options, talk
from sizer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.benchmark.load.requests import Lengths
    from sizer.benchmark.runner import Result


@click.command()
@click.argument("model", required=False, default="")
@click.option("--precision", "-p", "precisions", multiple=True, metavar="P", help="Repeatable.  [default: as stored]")
@click.option("--engine", "-e", default="", metavar="E", help="transformers or llama.cpp; with --server, the server's.")
@click.option("--device", "-d", default="auto", show_default=True, metavar="D", help="cpu, cuda, cuda:1, mps or auto.")
@click.option("--devices", "device_count", type=click.IntRange(1, 1024), default=1, help="Ranks of --parallel tensor.")
@click.option("--parallel", "parallelism", type=click.Choice(["tensor"]), help="Several devices, by torchrun.")
@click.option("--prompt", "prompts", type=LENGTH_LIST, metavar="TOKENS", default="512", show_default=True,
              help="Or a list; of a load test 256-1k (uniform), 512~128 (normal).")  # fmt: skip
@click.option("--output", "outputs", type=LENGTH_LIST, metavar="TOKENS", default="128", show_default=True,
              help="The same of outputs.")  # fmt: skip
@click.option("--depth", "depths", type=DEPTH_LIST, metavar="TOKENS", help="Tokens in the cache before, as 0,4096.")
@click.option("--batch", "batches", type=BATCH_LIST, metavar="N", default="1", show_default=True)
@click.option("--budget", "budget_s", type=SECONDS, metavar="TIME", help="Stop in time, as 5m: lists.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=3, show_default=True, help="Measured runs.")
@click.option("--warmups", type=click.IntRange(0, 100), default=1, show_default=True, help="Runs before, not counted.")
@click.option("--threads", type=click.IntRange(1, 4096), help="CPU threads.  [default: one a core]")
@click.option("--gpu-layers", type=click.IntRange(0, 4096), help="llama.cpp: layers on the GPU.")
@click.option("--compile", "compiled", is_flag=True, help="transformers: torch.compile and a static cache.")
@click.option("--random-weights", is_flag=True, help="Build the model from its config: no download, the true bytes.")
@click.option("--server", "server_url", default="", metavar="URL", help="Measure an OpenAI-compatible server.")
@click.option("--concurrency", type=click.IntRange(1, 4096), default=1, show_default=True, help="--server: users.")
@click.option("--users", type=USER_LIST, metavar="N", help="--server: a load test with so many users, as 1,4,16.")
@click.option("--rate", "rates", type=RATE_LIST, metavar="R", help="--server: so many requests a second, by chance.")
@click.option(
    "--requests", type=click.Path(path_type=Path), metavar="FILE", help="Load test: the requests, JSON Lines."
)
@click.option(
    "--command", "server_command", default="", metavar="COMMAND", help="Load test: how the server was started."
)
@click.option("--duration", type=SECONDS, metavar="TIME", default="60s", show_default=True, help="Of a load test.")
@click.option("--ttft", type=SECONDS, metavar="TIME", help="Load test: a good request's first token comes within it.")
@click.option("--tpot", type=SECONDS, metavar="TIME", help="Load test: each later token comes within it, in the mean.")
@click.option("--force", is_flag=True, help="Run also what the estimate says cannot fit.")
@click.option("--timeout", "timeout_s", type=Threshold(min=1), default=3600, show_default=True, help="Seconds.")
@click.option("--save", "save_to", type=click.Path(dir_okay=False, path_type=Path), help="Append a row to this CSV.")
@click.option(
    "--compare",
    "compared",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Measure nothing: set two saved files (--save, or --json's output) side by side.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run code from the model's repository. Read it first.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
@partial(output_options, own=["llama-bench"])
def command(
    precisions: tuple[str, ...], style: str, save_to: Path | None, compared: tuple[Path, Path] | None, **options: Any
) -> None:
    """Load MODEL, generate, and print what was measured beside what was predicted.

    MODEL is a hub id, a directory or a .gguf file. Without it, a small catalogued model runs with random weights: no
    network is needed. The work happens in a child process: whatever becomes of that, nothing is left behind.

    \b
    sizer bench
    sizer bench Qwen/Qwen3-8B --precision nf4 --random-weights
    sizer bench ./model-Q4_K_M.gguf --threads 8 --save results.csv
    sizer bench --server http://localhost:8000/v1 --concurrency 8
    sizer bench Qwen/Qwen3-0.6B --prompt 512,2048 --output 128 --depth 0,4096 --batch 1,4 --budget 5m
    sizer bench --server http://localhost:8000/v1 --users 1,4,16 --duration 60s --ttft 1s --tpot 50ms
    sizer bench --server http://localhost:8080 --rate 1,4 --prompt 256-1k --command "llama-server ..."
    sizer bench Qwen/Qwen3-0.6B --prompt 512,2048 --output 128 --format llama-bench > cells.json
    sizer bench --compare before.json after.json
    """
    try:
        _bench(precisions, style, save_to, compared, options)
    finally:
        if sys.stderr.isatty():  # the last line of progress
            click.echo("\r\033[K", err=True, nl=False)


def _bench(
    precisions: tuple[str, ...],
    style: str,
    save_to: Path | None,
    compared: tuple[Path, Path] | None,
    options: dict[str, Any],
) -> None:
    """What the options ask for: a comparison, a load test, lists, or one measurement."""
    if compared:
        _compare(*compared, style)
        return
    from sizer.benchmark.save import check

    options["parallelism"] = options["parallelism"] or ""
    lists = [options.pop(name) for name in ("prompts", "outputs", "depths", "batches")]
    budget_s = options.pop("budget_s")
    load = {name: options.pop(name) for name in LOAD_OPTIONS}
    if load["users"] or load["rates"]:
        _run_load(precisions, style, save_to, lists, {**options, **load})
        return
    if load["requests"] is not None or load["server_command"]:
        raise UsageError(
            "--requests and --command are for a load test.", "Add --server URL and --users 1,4 or --rate 2."
        )
    if save_to is not None:
        check(save_to)
    lists[:2] = [[_fixed(one) for one in lengths] for lengths in lists[:2]]
    if any(len(values or ()) > 1 for values in lists) or lists[2] or budget_s is not None:
        _run_lists(precisions, style, save_to, {**options, "lists": lists, "budget_s": budget_s})
        return
    prompts, outputs, _, batches = lists
    options |= {"prompt_tokens": prompts[0], "output_tokens": outputs[0], "batch_size": batches[0]}
    _run_single(precisions, style, save_to, options)


def _run_single(precisions: tuple[str, ...], style: str, save_to: Path | None, options: dict[str, Any]) -> None:
    """One prompt, output and batch for each precision."""
    from sizer.benchmark.plan import Asked
    from sizer.benchmark.runner import bench, save

    timeout_s, force = options.pop("timeout_s"), options.pop("force")
    results: list[Result] = []
    try:
        for precision in precisions or ("",):
            asked = Asked(precision=precision, **options)
            results.append(bench(asked, timeout_s=timeout_s, force=force, progress=_progress()))
            if save_to is not None:
                save(save_to, results[-1])
    finally:
        # What was measured before a failure is not lost with it.
        if results:
            _print(render(results, style))


def _run_lists(precisions: tuple[str, ...], style: str, save_to: Path | None, options: dict[str, Any]) -> None:
    """The cells of lists, a load for each precision."""
    from sizer.benchmark.cell_runner import bench_cells, row_of_cell
    from sizer.benchmark.cells import cells_of
    from sizer.benchmark.plan import Asked
    from sizer.benchmark.save import append_all
    from sizer.report.cells import document, told
    from sizer.report.outputs import write

    (prompts, outputs, depths, batches), budget_s = options.pop("lists"), options.pop("budget_s")
    cells = cells_of(prompts, outputs, depths or (0,), batches)
    timeout_s, force = options.pop("timeout_s"), options.pop("force")
    found, missing = [], []
    for precision in precisions or ("",):
        asked = Asked(precision=precision, batch_size=max(batches), **options)
        results, left = bench_cells(
            asked, cells, timeout_s=timeout_s, budget_s=budget_s, force=force, progress=_progress()
        )
        found += results
        missing += left
        if save_to is not None:
            append_all(save_to, [row_of_cell(one, number) for number, one in enumerate(results, 1)])
    if missing:
        talk(f"left out for want of time: {told(missing)}.")
    rows = [row_of_cell(one, number) for number, one in enumerate(found, 1)]
    _print(write(document(found, missing, lambda: rows), style))


LOAD_OPTIONS = ("users", "rates", "duration", "ttft", "tpot", "requests", "server_command")


def _fixed(lengths: Lengths) -> int:
    if lengths.fixed is None:
        raise UsageError(
            f"{lengths.words!r} is a range of lengths: it is for a load test.",
            "Add --users or --rate, or list lengths.",
        )
    return lengths.fixed


def _run_load(
    precisions: tuple[str, ...], style: str, save_to: Path | None, lists: list[Any], options: dict[str, Any]
) -> None:
    """A load test of a server, by number of users or by rate."""
    from sizer.benchmark.load.asked import LoadAsked, with_requests
    from sizer.benchmark.load.rows import COLUMNS
    from sizer.benchmark.load.runner import bench_load
    from sizer.benchmark.save import check
    from sizer.report.load import document
    from sizer.report.outputs import write
    from sizer.serving.records import Limits

    prompts, outputs, depths, batches = lists
    several = len(prompts) > 1 or len(outputs) > 1 or len(precisions) > 1
    if several or depths or tuple(batches) != (1,) or options["concurrency"] > 1:
        raise UsageError(
            "--users and --rate ask a server for one kind of prompt and output.",
            "Leave lists, --depth, --batch and --concurrency out; a range is written 256-1k.",
        )
    if style == "llama-bench":
        raise UsageError("llama-bench has no form for a load test.", "Take --format json or csv.")
    asked = LoadAsked(
        options["server_url"],
        users=options["users"] or (),
        rates_per_s=options["rates"] or (),
        duration_s=options["duration"],
        prompt=prompts[0],
        output=outputs[0],
        limits=Limits(options["ttft"], options["tpot"]),
        timeout_s=options["timeout_s"],
        precision=precisions[0] if precisions else "",
        device="" if options["device"] == "auto" else options["device"],
        command=options["server_command"],
        **{name: options[name] for name in ("model", "engine", "device_count", "offline")},
    )
    if save_to is not None:
        check(save_to, COLUMNS)
    test = bench_load(with_requests(asked, options["requests"]), save_to, _progress())
    _print(write(document(test), style))


def _compare(a: Path, b: Path, style: str) -> None:
    from sizer.benchmark.compare import compare
    from sizer.benchmark.saved import read_saved
    from sizer.report.comparison import document
    from sizer.report.outputs import write

    if style == "llama-bench":
        raise UsageError("llama-bench has no form for a comparison.", "Take --format json or csv.")
    echo(write(document(compare(read_saved(a), read_saved(b))), style))


def _print(text: str) -> None:
    """Write the results; a full disk behind stdout is a failed benchmark, a reader that left is not."""
    import errno

    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    try:
        echo(text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from sizer.errors import BenchmarkFailed

        raise BenchmarkFailed(
            f"The result could not be written to the output ({error.strerror}).", "Free space, or write elsewhere."
        ) from error


def render(results: list[Result], style: str) -> str:
    """The results in the style asked for."""
    from sizer.benchmark.runner import row_of
    from sizer.report.bench import document
    from sizer.report.outputs import write

    found = document([(item.measured, item.predicted) for item in results], lambda: [row_of(item) for item in results])
    return write(found, style)


def _progress() -> Callable[[str], None]:
    """Stages on stderr, on one line that is rewritten, and only on a terminal."""
    if not sys.stderr.isatty():
        return lambda _stage: None

    def show(stage: str) -> None:
        click.echo(f"\r\033[K{stage} ...", err=True, nl=False)

    return show
