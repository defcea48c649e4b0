"""`sizer recommend`: which precision to run, why, and the command that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sizer.api.recommend import DraftAsked, advised, draft_for, nothing_runs, recommend_targets
from sizer.api.wanted import WantedAsked, only
from sizer.cli.common import (
    NOT_NEGATIVE,
    PROBABILITY,
    advised_workload_options,
    device_options,
    echo,
    network_options,
    output_options,
    show,
    talk,
    words,
)
from sizer.cli.completion import complete_models
from sizer.cli.estimate import devices_asked, work_asked
from sizer.errors import DoesNotFit, UsageError

if TYPE_CHECKING:
    from sizer.advise.advice import Advice
    from sizer.advise.draft import Draft
    from sizer.device.records import Target

PREFER = click.Choice(["balanced", "quality", "speed", "memory"])


@click.command()
@click.argument("model", shell_complete=complete_models)
@device_options
@advised_workload_options
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option("--min-speed", type=NOT_NEGATIVE, metavar="N", help="Decode tokens/s to reach.")
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option("--max-loss", type=NOT_NEGATIVE, metavar="KL", help="Highest KL divergence to take.")
@click.option(
    "--draft", callback=words, metavar="MODEL|auto", help="A draft for speculative decoding: what it would gain."
)
@click.option("--draft-tokens", type=click.IntRange(1, 64), metavar="N", help="Drafted at once.  [default: the best]")
@click.option("--acceptance", type=PROBABILITY, metavar="P", help="Share of drafts accepted.  [default: 0.7]")
@click.option("--emit", is_flag=True, help="Print only the code or command that runs it.")
@output_options
@network_options
def command(model: str, style: str, offline: bool, emit: bool, **options: Any) -> None:
    """Which precision of MODEL to run on this machine (or --device, --ram, --vram), why, and how.

    \b
    sizer recommend Qwen/Qwen3-8B
    sizer recommend meta-llama/Llama-3.1-70B --vram 24GiB --ram 64GiB
    sizer recommend Qwen/Qwen3-32B --device 2xrtx-3090 --context 32k --min-speed 20
    sizer recommend Qwen/Qwen3-32B -d rtx-4090 --draft auto
    sizer recommend mistralai/Mistral-7B-Instruct-v0.3 -d rtx-3060 --emit > run.sh
    """
    targets = recommend_targets(devices_asked(options), say=talk)
    wanted = WantedAsked(options["prefer"], options["min_speed"], options["max_loss"]).wanted()
    asked = DraftAsked(options["draft"], options["draft_tokens"], options["acceptance"]) if options["draft"] else None
    answers: list[tuple[Advice, Draft | None]] = []
    missing: list[tuple[Target, DoesNotFit]] = []
    for target in [only(targets)] if emit else targets:
        advice = advised(model, target, work_asked(options), wanted, offline=offline)
        if advice.chosen is None:
            missing.append((target, nothing_runs(model, advice, wanted)))
        answers.append((advice, draft_for(advice.chosen, asked, offline=offline) if advice.chosen else None))
    ran = [answer for answer in answers if answer[0].chosen is not None]
    if emit and ran:
        echo(_command(*ran[0]))
        return
    told = ran or (answers if style == "json" and not emit else [])
    if told:
        from sizer.report.advice import advice_document
        from sizer.report.outputs import together

        show(together([advice_document(*answer, draft_asked=asked is not None) for answer in told]), style)
    if not ran:
        raise missing[0][1]
    for target, refused in missing:
        talk(f"{target.asked}: {refused.message} {refused.hint}")
    if missing:
        click.get_current_context().exit(DoesNotFit.exit_code)


def _command(advice: Advice, draft: Draft | None) -> str:
    from sizer.advise.public import command_of

    command = command_of(advice, draft)
    if command is None:
        raise UsageError(
            "there is no command for this.", "Name a model of the hub, and with --engine one that has a recipe."
        )
    return command.rstrip("\n")
