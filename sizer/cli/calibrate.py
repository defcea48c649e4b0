"""`sizer calibrate`: the constants of the law of speed, fitted to a file of measurements."""

from __future__ import annotations

from pathlib import Path

import click

from sizer.cli.common import echo
from sizer.errors import UsageError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--serving", type=click.Path(path_type=Path), metavar="FILE", help="Rows under load, as data/serving.csv."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write the constants there.")
@click.option("--nearby", type=click.Path(path_type=Path), metavar="FILE", help="Write what each row says there.")
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="FILE", help="Write the held-out errors as Markdown."
)
def command(file: Path, serving: Path | None, output: Path | None, nearby: Path | None, report: Path | None) -> None:
    """Fit the engine constants to FILE and print the errors on rows that were held out.

    Each row is predicted by constants that never saw its device, its model or its source. The same file
    gives the same constants. Needs sizer-llm[calibrate].

    \b
    sizer calibrate data/measurements.csv
    sizer calibrate data/measurements.csv --serving data/serving.csv --output data/constants.json
    sizer calibrate data/serving.csv --output data/serving_constants.json
    """
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise UsageError("calibrate needs scipy.", "Install it with: pip install 'sizer-llm[calibrate]'") from None
    from sizer.serving.points import is_serving_table

    if serving is None and is_serving_table(file):
        _calibrate_serving(file, output, report)
        return
    from sizer.calibrate.calibration import calibrate
    from sizer.calibrate.constants_file import constants_text
    from sizer.calibrate.measurements import read_measurements
    from sizer.calibrate.serving import read_serving
    from sizer.report.accuracy import accuracy_markdown, accuracy_text
    from sizer.report.wrap import wrapped

    found = calibrate(read_measurements(file), read_serving(serving) if serving else ())
    if output is not None:
        output.write_text(constants_text(found.document), encoding="utf-8")
    if nearby is not None:
        nearby.write_text(found.nearby, encoding="utf-8")
    if report is not None:
        report.write_text(accuracy_markdown(found), encoding="utf-8")
    echo(wrapped(accuracy_text(found)))


def _calibrate_serving(file: Path, output: Path | None, report: Path | None) -> None:
    """What servers under load add to the law: its own constants, fitted to points under load alone."""
    from sizer.calibrate.load_calibration import calibrate_serving, constants_text
    from sizer.report.serving_accuracy import serving_markdown, serving_text
    from sizer.report.wrap import wrapped

    found = calibrate_serving(file)
    if output is not None:
        output.write_text(constants_text(found.document), encoding="utf-8")
    if report is not None:
        report.write_text(serving_markdown(found), encoding="utf-8")
    echo(wrapped(serving_text(found)))
