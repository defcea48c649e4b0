"""`sizer import`: others' benchmark files as measured rows."""

from __future__ import annotations

from pathlib import Path

import click

from sizer.cli.common import echo, talk


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "-m", default="", metavar="MODEL", help="The model, where the file does not tell it.")
@click.option("--device", "-d", default="", metavar="D", help="The device, where the file does not tell it.")
@click.option("--precision", "-p", default="", metavar="P", help="The precision, where the file does not tell it.")
@click.option("--engine", "-e", default="", metavar="E", help="The engine, where the file does not tell it.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append the rows to this CSV instead of printing them.",
)
def command(file: Path, output: Path | None, **told: str) -> None:
    """Read FILE, another tool's benchmark result, as rows in the columns of data/measurements.csv.

    Known are llama-bench (JSON, JSONL, CSV, Markdown), llama-batched-bench (JSONL, Markdown), vLLM's `bench serve`
    (JSON), SGLang's bench_serving (JSONL) and guidellm (JSON). 'sizer validate' scores the rows, 'sizer calibrate'
    reads them.

    \b
    llama-bench -m Qwen3-8B-Q4_K_M.gguf -o json > qwen.json
    sizer import qwen.json --output mine.csv
    sizer import served.json --device 2xh100 --precision fp8
    sizer validate mine.csv
    """
    from sizer.benchmark.foreign.files import Told, rows_of

    rows = rows_of(file, Told(**told))
    if output is None:
        from sizer.report.layout import csv_table

        echo(csv_table(rows).rstrip("\n"))
        return
    from sizer.benchmark.save import append_all

    added = append_all(output, rows, once=True)
    there = f"; {len(rows) - added} were there already" if added < len(rows) else ""
    talk(f"{added} rows appended to {str(output)!r}{there}.")
