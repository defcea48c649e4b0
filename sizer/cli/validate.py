"""`sizer validate`: predictions compared with the measured columns of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from sizer.cli.common import echo

Item = TypeVar("Item")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The errors, the skipped rows and every prediction as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw predicted against measured.")
def command(file: Path, as_json: bool, plot: Path | None) -> None:
    """Predict every row of FILE (CSV or JSON Lines) and compare with what was measured.

    The columns are those of data/measurements.csv: model, device, precision and engine name the case,
    decode_tokens_per_s, prefill_tokens_per_s and memory_gib are compared where they are filled. A file with the columns
    of data/serving.csv holds servers under load: their time to first token and per output token are compared.

    \b
    sizer validate data/measurements.csv
    sizer validate mine.jsonl --json
    sizer validate data/serving.csv
    sizer validate mine.csv --plot errors.png
    """
    from sizer.calibrate import validate as comparison
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.predictions import predict_rows
    from sizer.serving.points import is_serving_table, read_rows

    if plot is not None:
        from sizer.report.plots import check_ending

        check_ending(plot)
    if is_serving_table(file):
        from sizer.calibrate.load_validation import predict_points, validate_points

        loads = list(read_rows(file))
        result = validate_points(progress(predict_points(loads), len(loads), "validating"))
    else:
        rows = read_measurements(file)
        result = comparison.validate(progress(predict_rows(rows), len(rows), "validating"))
    if plot is not None:
        from sizer.report.validation import save_plot

        save_plot(result, plot)
    if as_json:
        from sizer.plain_json import dumps

        echo(dumps(comparison.as_json(result)))
    else:
        from sizer.report.validation import render
        from sizer.report.wrap import wrapped

        echo(wrapped(render(result)))


def progress(items: Iterable[Item], count: int, label: str, *, streamed: bool = False) -> Iterator[Item]:
    """The items, with a bar on stderr where that is a terminal, and what is printed meanwhile goes elsewhere."""
    import sys

    if not sys.stderr.isatty() or (streamed and sys.stdout.isatty()):
        yield from items
        return
    with click.progressbar(items, length=count, label=label, file=sys.stderr) as bar:
        yield from bar
