"""`sizer sweep`: predictions for every row of a file."""

from __future__ import annotations

from pathlib import Path

import click

from sizer.cli.common import output_options, show
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
    from sizer.report.layout import cells_of
    from sizer.report.outputs import Document

    if predicted:
        wide = [wide_row(row) for row in predicted]
        show(Document(lambda: wide, lambda: wide, lambda lay: cells_of(list(map(narrow_row, predicted)), lay)), style)
