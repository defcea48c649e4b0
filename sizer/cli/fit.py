"""`sizer fit`: which catalogued models this machine can run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from sizer.api.fit import fitting_for, models_asked
from sizer.api.targets import targets
from sizer.api.wanted import WantedAsked, only
from sizer.cli.common import (
    NOT_NEGATIVE,
    advised_workload_options,
    one_device_options,
    output_options,
    show,
    talk,
    words,
)
from sizer.cli.estimate import devices_asked, work_asked
from sizer.cli.recommend import PREFER

if TYPE_CHECKING:
    from sizer.advise.fitting_models import Found
    from sizer.device.records import Target

FLOOR = "Precisions that lose more than a KL divergence of {:g} are left out (--max-loss)."
UNKNOWN_LICENSES = "Models whose licence is not known are left out; the tags are the hub's: read the licence itself."
RATINGS = "Ratings: {}{}; none is sizer's own. Unrated ones (-) follow by date."
RECENT = "Recent chat models that no newer one supersedes; --all: the rest; --for coding: by that rating."
SLOW = "{} more answer clearly slower than reading (5.3 tokens/s); --limit or --min-speed 1 lists them."
UNKNOWN_BANDWIDTH = "No speeds: the bandwidth of {} is not known; --bandwidth 360GB/s says it."


@click.command()
@one_device_options
@advised_workload_options
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option("--min-speed", type=NOT_NEGATIVE, metavar="N", help="Decode tokens/s to reach.")
@click.option(
    "--max-loss", type=NOT_NEGATIVE, metavar="KL", help="Highest KL divergence to offer.  [default: 0.08, four bits]"
)
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option("--all", "everything", is_flag=True, help="Base, code and vision models and embedders, older ones too.")
@click.option(
    "--since", default="", callback=words, metavar="DATE", help="Only models released since: 2025, 2025-06, 2025-06-30."
)
@click.option(
    "--for", "rated_for", default="overall", show_default=True, callback=words, metavar="WHAT",
    help="Order by this rating: coding, math, writing, chinese, law, medicine ...",
)  # fmt: skip
@click.option(
    "--family", default="", callback=words, metavar="TEXT", help="Only models whose name or type holds these words."
)
@click.option("--moe", is_flag=True, help="Only mixtures of experts.")
@click.option(
    "--license", "licenses", multiple=True, callback=words, metavar="L",
    help="Only licences that begin so: apache, mit, llama.",
)  # fmt: skip
@click.option("--whole", is_flag=True, help="Leave out what runs only with a part on the host (--ram).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the first N.  [default: 20 in a table]")
@output_options
def command(style: str, family: str, licenses: tuple[str, ...], limit: int | None, **options: Any) -> None:
    """Which catalogued models this machine (or --device) runs, best first, at which precision, how fast.

    \b
    sizer fit
    sizer fit --device rtx-4090 --min-speed 20 --context 32k
    sizer fit --device m3-max --family qwen --moe
    sizer fit --device rtx-3060 --for coding --since 2025
    sizer fit --device rtx-4060 --ram 32GiB --license apache
    """
    from sizer.advise.fitting_models import first_screen
    from sizer.report.advice import fit_document

    asked = {name: options[name] for name in ("moe", "whole", "everything", "since", "rated_for")}
    keep = models_asked(family, licenses, **asked)
    wanted = WantedAsked(options["prefer"], options["min_speed"], options["max_loss"]).wanted(offer=True)
    target = only(targets(devices_asked(options), talk))
    found = fitting_for(target, work_asked(options), wanted, keep)
    listed = first_screen(found) if limit is None and style == "table" else found[:limit]
    notes = [*_about_rows(found, listed, target), *([UNKNOWN_LICENSES] if licenses else []), *target.notes]
    if target.device.bandwidth_bytes_per_s is None:
        notes.append(UNKNOWN_BANDWIDTH.format(target.device.name))
    notes += _about_choice(options["rated_for"], wanted.max_loss, everything=options["everything"])
    show(fit_document(listed, notes), style)


def _about_rows(found: Sequence[Found], listed: Sequence[Found], target: Target) -> Iterator[str]:
    """How many models run, and what of them is not listed."""
    from sizer.advise.recommend import slower_than_reading

    machine = f"{target.count} x {target.device.name}" if target.count > 1 else target.device.name
    more = "; --limit 100 shows more" if len(listed) < len(found) else ""
    yield f"{len(found)} of the catalogue's models run on {machine}{more}."
    slow = sum(slower_than_reading(item.estimate) for item in found)
    slow -= sum(slower_than_reading(item.estimate) for item in listed)
    if slow and listed is not found and len(listed) < len(found):
        yield SLOW.format(slow)
    yield from dict.fromkeys(filter(None, map(_about_code, listed)))
    split = sum(1 for item in found if not item.estimate.placement.whole)
    if split:
        yield f"{split} of them need the host's memory for other layers or experts; --whole leaves them out."


def _about_code(found: Found) -> str:
    """That the engine asked for may lack the model; empty where it has it."""
    from sizer.engine.model_classes import model_code

    item = found.estimate
    unknown = model_code(item.architecture, item.engine, item.options).unknown
    return f"{item.architecture.model_id}: {unknown}" if unknown else ""


def _about_choice(rated_for: str, max_loss: float | None, *, everything: bool) -> Iterator[str]:
    """By whose rating they are ordered, and what is left out."""
    from sizer.advise.ratings import SOURCE

    yield RATINGS.format(SOURCE, "" if rated_for == "overall" else f", {rated_for}")
    if not everything:
        yield RECENT
    yield FLOOR.format(max_loss)
