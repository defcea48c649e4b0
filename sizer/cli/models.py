"""`sizer models`: the models that sizer knows without a network."""

from __future__ import annotations

import click

from sizer.cli.common import output_options, show
from sizer.errors import UnknownModel
from sizer.model.read import catalogue
from sizer.report.outputs import listing
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
    show(listing(rows, _for_people), style)


def _for_people(row: dict[str, str | int | None]) -> dict[str, str | None]:
    total, active = row["total_params"], row["active_params"]
    return {
        "model": str(row["model"]),
        "params": format_count(int(total)) if total else None,
        "active": format_count(int(active)) if active else None,
        "architecture": str(row["architecture"]),
    }
