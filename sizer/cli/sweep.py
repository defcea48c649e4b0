"""`sizer sweep`: predictions for every row of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from sizer.cli.common import echo, output_options, talk
from sizer.cli.validate import progress
from sizer.printable import shown


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_options
def command(file: Path, style: str) -> None:
    """Predict every row of FILE (CSV, JSON Lines or a JSON array).

    Columns: model, device, precision, engine, prompt_tokens, context_tokens, batch and others (docs/index.md). Its own
    columns pass through, CSV and JSON give all of them. A row that cannot be predicted says why in the column `reason`,
    or below the table. Rows are written as they come.

    \b
    sizer sweep rows.csv --format csv > predicted.csv
    """
    from sizer.calibrate.measurements import stream_measurements
    from sizer.calibrate.predictions import predict_rows
    from sizer.calibrate.row_files import open_rows
    from sizer.calibrate.sweep import PREDICTED_COLUMNS, narrow_row, wide_row
    from sizer.report.outputs import Stream, write_stream

    rows = open_rows(file)
    for remark in _unread(rows.columns):
        talk(remark)
    found = predict_rows(stream_measurements(rows), with_flagged=True)
    predicted = progress(found, rows.count, "sweeping", streamed=True)
    columns = tuple(dict.fromkeys((*rows.columns, *PREDICTED_COLUMNS)))
    pairs = ((wide_row(row), narrow_row(row)) for row in predicted)
    for piece in write_stream(Stream(columns, pairs, told="reason"), style):
        echo(piece)
    if not rows.count:
        talk(f"{shown(str(file))} has no rows.")


def _unread(columns: Sequence[str]) -> Iterator[str]:
    """What is said of columns that are named as an option of `estimate` is, and that no row is read by."""
    from sizer.api.asked import Options
    from sizer.calibrate.measurements import ReadRow

    read = ReadRow.__annotations__
    for column in columns:
        option = column.strip().casefold().replace("-", "_")
        if option not in Options.__annotations__ or option in read:
            continue
        meant = next((name for name in read if name.startswith(f"{option}_")), None)
        instead = f"{meant} is" if meant else "`sizer estimate` takes it as an option"
        if meant not in columns:
            yield f"the column {shown(column)} is not read: {instead}."
