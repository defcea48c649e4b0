"""`sizer models`: the models that sizer knows without a network."""

from __future__ import annotations

import click

from sizer.cli.common import echo, output_options
from sizer.errors import UnknownModel
from sizer.model import catalogue
from sizer.units import format_count


@click.command()
@click.argument("text", nargs=-1)
@output_options
def command(text: tuple[str, ...], style: str) -> None:
    """List the offline catalogue: the models whose name, architecture or type holds every word of TEXT.

    \b
    sizer models
    sizer models qwen3 moe
    sizer models llama --json
    """
    wanted = " ".join(text)
    found = catalogue.search(wanted)
    if not found:
        near = ", ".join(catalogue.nearest(wanted))
        raise UnknownModel(f"no catalogued model matches {wanted!r}.", f"Nearest: {near}." if near else "")
    rows = [
        {
            "model": entry.model_id,
            "architecture": entry.architecture,
            "total_params": entry.reference_params,
            "active_params": entry.active_params,
            "source": entry.config_source,
        }
        for entry in found
    ]
    echo(_render(rows, style))


def _render(rows: list[dict[str, str | int | None]], style: str) -> str:
    from sizer.report.rows import render_rows

    if style in {"table", "markdown"}:
        for row in rows:
            for column in ("total_params", "active_params"):
                count = row[column]
                row[column] = format_count(int(count)) if count else "-"
            del row["source"]
    return render_rows(rows, style)
