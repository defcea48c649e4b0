"""`sizer fit`: which catalogued models this machine can run."""

from __future__ import annotations

from typing import Any

import click

from sizer.api import targets
from sizer.cli.common import device_options, echo, output_options, talk, workload_options
from sizer.cli.estimate import devices_asked, work_asked
from sizer.cli.recommend import LOSS, PREFER, offered
from sizer.errors import DoesNotFit

FLOOR = "Precisions that lose more than a KL divergence of {:g} are left out (--max-loss)."
LEADERBOARDS = "sizer does not rank answers: see lmarena.ai and the model cards' own benchmarks for quality."


@click.command()
@device_options
@workload_options
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option("--min-speed", type=click.FloatRange(min=0), metavar="N", help="Decode tokens/s to reach.")
@click.option("--max-loss", type=LOSS, metavar="KL", help="Highest KL divergence to offer.  [default: 0.08, four bits]")
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option("--family", default="", metavar="TEXT", help="Only models whose name or type holds these words.")
@click.option("--moe", is_flag=True, help="Only mixtures of experts.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show the N largest.")
@output_options
def command(style: str, family: str, moe: bool, limit: int | None, **options: Any) -> None:
    """Which catalogued models this machine (or --device) runs, at which precision, how fast, with how much room left.

    \b
    sizer fit
    sizer fit --device rtx-4090 --min-speed 20 --context 32k
    sizer fit --device m3-max --family qwen --moe
    """
    from sizer.advise.fit import Filter, fitting

    target = targets(devices_asked(options), talk)[0]
    work, wanted = work_asked(options), offered(options)
    found = fitting(
        target,
        work.workload(),
        wanted,
        engine=work.engine,
        keep=Filter(family, moe),
        context_asked=work.context_tokens is not None,
    )
    if not found:
        raise DoesNotFit(f"no catalogued model runs on {target.device.name} as asked.", "Ask for less, or give --ram.")
    from sizer.report.advice import fit_rows, render_found

    rows = fit_rows(found[:limit], human=style in {"table", "markdown"})
    echo(render_found(rows, style))
    if style == "table":
        echo(f"\n{len(found)} of the catalogue's models fit {target.device.name}.")
        echo(f"{FLOOR.format(wanted.max_loss)}\n{LEADERBOARDS}")
