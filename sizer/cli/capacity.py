"""`sizer capacity`: how many users a machine serves within limits, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sizer.api.capacity import USUAL_OUTPUT_TOKENS, USUAL_PROMPT_TOKENS, capacities
from sizer.cli.common import PROBABILITY, SECONDS, TOKENS, device_options, draft_options, output_options, show
from sizer.cli.estimate import devices_asked

LIMITS_NOT_MET = 4
"""The exit code where no number of users meets the limits."""


@click.command()
@click.argument("model")
@device_options
@click.option("--prompt", type=TOKENS, metavar="TOKENS", default=str(USUAL_PROMPT_TOKENS), show_default=True,
              help="Mean prompt tokens.")  # fmt: skip
@click.option("--output", type=TOKENS, metavar="TOKENS", default=str(USUAL_OUTPUT_TOKENS), show_default=True,
              help="Mean generated tokens.")  # fmt: skip
@click.option("--users", type=int, metavar="N", help="This many at once: how many machines, and what they see.")
@click.option("--rps", type=float, metavar="R", help="This many requests a second instead, arriving by chance.")
@click.option("--ttft", type=SECONDS, metavar="TIME", help="Longest time to the first token, as 1s.")
@click.option("--tpot", type=SECONDS, metavar="TIME", help="Longest time per output token, as 50ms.")
@click.option("--percentile", type=click.Choice(["p50", "p90", "p95", "p99"]), default="p90", show_default=True,
              help="Of the requests, who must stay within the limits.")  # fmt: skip
@click.option("--precision", "-p", metavar="P", help="[default: the model's own, else the best that fits]")
@click.option("--engine", "-e", metavar="E", help="vllm, sglang, tensorrt-llm, llama.cpp ...  [default: the usual one]")
@click.option("--kv-precision", default="fp16", show_default=True, help="fp16, fp8, q8_0 ...")
@click.option("--parallel", type=click.Choice(["tensor", "expert", "pipeline", "layer"]), help="[default: the best]")
@click.option("--replicas", type=int, metavar="N", help="Copies of the model on the machine.  [default: the best]")
@click.option("--machines", type=int, metavar="N", help="Serve --users or --rps with this many machines.")
@click.option("--prefix-hit", type=PROBABILITY, default=0.0, show_default=True, metavar="SHARE",
              help="Of a prompt, found in the prefix cache.")  # fmt: skip
@click.option("--shared-prompt", "shared_prompt", type=TOKENS, default="0", metavar="TOKENS",
              help="Of --prompt, those that all requests begin with (a system prompt).")  # fmt: skip
@draft_options
@click.option("--price", "prices", multiple=True, metavar="[D=]USD", help="USD an hour of a device, as h100=2.10.")
@click.option("--arrivals", type=click.Path(path_type=Path), metavar="FILE",
              help="A day: CSV with hour and requests (or rps).")  # fmt: skip
@click.option("--apart", is_flag=True, help="Also prompts on devices of their own, by arithmetic.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@output_options
@click.option("--offline", is_flag=True, help="Never touch the network.")
def command(model: str, style: str, offline: bool, plot: Path | None, **options: Any) -> None:
    """How many users (or requests a second) a machine serves MODEL to within a time to first token and per token.

    The exit code is 4 where not one user is served within the limits, or the load asked for is not on --machines.

    \b
    sizer capacity meta-llama/Llama-3.1-70B -d 4xh100 --prompt 8k --output 500 --ttft 1s --tpot 50ms
    sizer capacity Qwen/Qwen3-32B -d 8xh100 --rps 500 --ttft 2s --price h100=2.10
    sizer capacity Qwen/Qwen3-8B -d rtx-4090 -e llama.cpp -p q4_k_m --users 16
    """
    from sizer.api.asked import WorkAsked
    from sizer.api.estimates import drafting_of
    from sizer.model.read.resolve import resolve
    from sizer.report.capacity import document

    if plot is not None:
        from sizer.report.plots import check_ending

        check_ending(plot)
    work = WorkAsked(
        precisions=(options["precision"],) if options["precision"] else (),
        engine=options["engine"],
        prompt_tokens=options["prompt"],
        output_tokens=options["output"],
        kv_precision=options["kv_precision"],
        parallelism=options["parallel"],
        drafting=drafting_of(options["draft"], options["draft_tokens"], options["acceptance"], offline=offline),
    )
    asked = serving_asked(options)
    found = list(capacities(resolve(model, offline=offline), devices_asked(options), work, asked))
    if plot is not None:
        from sizer.report.capacity_plot import save

        save(found, plot)
    show(document(found), style)
    if not all(one.met for one in found):
        click.get_current_context().exit(LIMITS_NOT_MET)


def serving_asked(options: dict[str, Any]) -> Any:
    """The load, limits and prices of the options."""
    from sizer.serving.asked import ServingAsked
    from sizer.serving.day import read_arrivals
    from sizer.serving.prices import stated_prices

    return ServingAsked(
        users=options["users"],
        rps=options["rps"],
        ttft_s=options["ttft"],
        tpot_s=options["tpot"],
        percentile=options["percentile"],
        prefix_hit=options["prefix_hit"],
        shared_tokens=options["shared_prompt"],
        replicas=options["replicas"],
        machines=options["machines"],
        prices=stated_prices(options["prices"]),
        arrivals=tuple(read_arrivals(options["arrivals"])) if options["arrivals"] is not None else (),
        apart=options["apart"],
    )
