"""`sizer sweep`: predictions for every row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sizer.cli.common import echo, output_options
from sizer.cli.validate import progress


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_options
def command(file: Path, style: str) -> None:
    """Predict every row of FILE (CSV or JSON Lines). Its own columns pass through, CSV and JSON give all of them.

    A row that cannot be predicted says why in the column `reason`.

    \b
    sizer sweep rows.csv --format csv > predicted.csv
    """
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.predictions import predict_rows
    from sizer.calibrate.sweep import narrow_row, wide_row

    rows = read_measurements(file)
    predicted = list(progress(predict_rows(rows, with_flagged=True), len(rows), "sweeping"))
    one_row = narrow_row if style in {"table", "markdown"} else wide_row
    found: list[dict[str, Any]] = [one_row(row) for row in predicted]
    from sizer.report.rows import render_rows

    if found:
        echo(render_rows(found, style))
