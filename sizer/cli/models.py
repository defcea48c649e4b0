"""`sizer models`: the models that sizer knows without a network."""

from __future__ import annotations

import click

from sizer.cli.common import SINK, output_options, show
from sizer.errors import HubUnreachable, UnknownModel, UsageError
from sizer.model.read import catalogue
from sizer.report.outputs import listing
from sizer.units import format_count


@click.command()
@click.argument("text", nargs=-1)
@click.option("--offline", is_flag=True, help="Nothing here touches the network, but `update`.")
@output_options
@click.pass_context
def command(ctx: click.Context, text: tuple[str, ...], offline: bool, style: str) -> None:
    """List the offline catalogue: the models whose name, architecture or type holds every word of TEXT.

    \b
    sizer models
    sizer models qwen3 moe
    sizer models llama --json

    `update` asks the hub instead, and keeps what changed there or is new: of all models, of those whose names hold the
    words after it, or of a repository that the catalogue has not.

    \b
    sizer models update qwen3
    sizer models update Qwen/Qwen3-8B someone/a-new-model
    """
    if text[:1] == ("update",):
        _update(ctx, text[1:], offline, style)
        return
    wanted = " ".join(text)
    found = catalogue.search_names(wanted)
    if not found:
        near = ", ".join(catalogue.nearest(wanted))
        raise UnknownModel(
            f"no catalogued model matches {wanted!r}.",
            f"Nearest: {near}." if near else "'sizer models' lists all; 'sizer models update NAME' asks the hub.",
        )
    rows = [
        {
            "model": name,
            "architecture": entry.architecture,
            "total_params": entry.reference_params,
            "active_params": entry.built_active_params or entry.active_params,
            "source": entry.config_source,
            "shape_of": None if name == entry.model_id else entry.model_id,
        }
        for name, entry in found
    ]
    show(listing(rows, _for_people), style)


def _update(ctx: click.Context, words: tuple[str, ...], offline: bool, style: str) -> None:
    """Refresh the catalogue from the hub, and tell what became of each model."""
    if SINK in ctx.meta or (ctx.parent and SINK in ctx.parent.meta):
        raise UsageError("the catalogue is not refreshed from a page.", "Run `sizer models update` in a terminal.")
    from sizer.model.read import refresh
    from sizer.model.read.hub import is_offline

    asked = refresh.wanted(words)
    if is_offline(offline):
        raise HubUnreachable("the network is switched off.", "Run `sizer models update` without --offline.")
    outcomes = list(refresh.update(asked))
    if outcomes[-1].outcome == "unreachable" and len(outcomes) == 1:
        raise HubUnreachable(outcomes[0].note, "The catalogue stays as it was.")
    rows = [{"model": of.model_id, "outcome": of.outcome, "note": of.note or None} for of in outcomes]
    show(listing(rows, lambda row: row), style)


def _for_people(row: dict[str, str | int | None]) -> dict[str, str | None]:
    total, active = row["total_params"], row["active_params"]
    return {
        "model": str(row["model"]),
        "params": format_count(int(total)) if total else None,
        "active": format_count(int(active)) if active else None,
        "architecture": str(row["architecture"]),
    }
