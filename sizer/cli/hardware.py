"""`sizer hardware`: which devices run a model as asked."""

from __future__ import annotations

from typing import Any

import click

from sizer.api.hardware import hardware_for
from sizer.api.wanted import WantedAsked
from sizer.cli.common import NOT_NEGATIVE, advised_workload_options, network_options, output_options, show, words
from sizer.cli.completion import complete_models
from sizer.cli.estimate import work_asked
from sizer.cli.recommend import PREFER

ORDER = click.Choice(["memory", "price", "speed"])
PRICES = (
    "Buy: launch prices. Rent: on-demand offers of 2026, the median (--json: cloud, date, source).\n"
    "--price h100=2.10 says yours. Tokens of all users, machine busy."
)


@click.command()
@click.argument("model", shell_complete=complete_models)
@advised_workload_options
@click.option("--users", type=click.IntRange(min=1), metavar="N", help="Sequences at once; the same as --batch.")
@click.option("--min-speed", type=NOT_NEGATIVE, metavar="N", help="Decode tokens/s of each sequence.")
@click.option(
    "--precision",
    "-p",
    "precisions",
    multiple=True,
    metavar="P",
    help="Only this one.  [default: the best]",
)
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option(
    "--max-loss", type=NOT_NEGATIVE, metavar="KL", help="Highest KL divergence to offer.  [default: 0.08, four bits]"
)
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option(
    "--device", "text", default="", callback=words, metavar="TEXT", help="Only devices or instances with these words."
)
@click.option("--sort", "order", type=ORDER, default="price", show_default=True, help="What comes first.")
@click.option("--price", "prices", multiple=True, metavar="[D=]USD", help="USD an hour of a device, as h100=2.10.")
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="Show the first N.")
@output_options
@network_options
def command(model: str, style: str, users: int | None, offline: bool, **options: Any) -> None:
    """Which devices, counts of them and cloud instances run MODEL as asked, cheapest first.

    \b
    sizer hardware meta-llama/Llama-3.1-70B --min-speed 20 --context 16k
    sizer hardware Qwen/Qwen3-30B-A3B --users 16 --device aws
    sizer hardware Qwen/Qwen3-8B --min-speed 30 --device mac --sort memory
    """
    work = work_asked({**options, "batch": users or options["batch"]})
    wanted = WantedAsked(options["prefer"], options["min_speed"], options["max_loss"]).wanted(offer=True)
    found, workload = hardware_for(
        model,
        work,
        wanted,
        text=options["text"],
        order=options["order"],
        prices=options["prices"],
        offline=offline,
    )
    listed = found[: options["limit"]]
    more = f" {len(found) - len(listed)} more; --limit shows them." if len(found) > len(listed) else ""
    sequences = f"each of {workload.batch_size} sequences" if workload.batch_size > 1 else "one sequence"
    notes = [f"For {sequences} at a context of {workload.context_tokens:,} tokens.{more}", PRICES]
    from sizer.report.advice import hardware_document

    show(hardware_document(listed, notes), style)
