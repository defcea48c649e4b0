"""`sizer recommend`: which precision to run, why, and the command that runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sizer.api import DeviceAsked, targets
from sizer.cli.common import (
    NOT_NEGATIVE,
    PROBABILITY,
    SIZE,
    device_options,
    echo,
    output_options,
    talk,
    workload_options,
)
from sizer.cli.estimate import devices_asked, work_asked
from sizer.errors import DoesNotFit, UsageError

if TYPE_CHECKING:
    from sizer.advise.advice import Advice
    from sizer.advise.draft import Draft
    from sizer.advise.recommend import Wanted
    from sizer.answer.records import Estimate
    from sizer.device.records import Target

PREFER = click.Choice(["balanced", "quality", "speed", "memory"])


@click.command()
@click.argument("model")
@device_options
@click.option("--vram", type=SIZE, metavar="SIZE", help="A GPU with this memory, whichever it is.")
@workload_options
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option("--min-speed", type=NOT_NEGATIVE, metavar="N", help="Decode tokens/s to reach.")
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option("--max-loss", type=NOT_NEGATIVE, metavar="KL", help="Highest KL divergence to take.")
@click.option("--draft", metavar="MODEL|auto", help="A draft for speculative decoding: what it would gain.")
@click.option("--draft-tokens", type=click.IntRange(1, 64), metavar="N", help="Drafted at once.  [default: the best]")
@click.option("--acceptance", type=PROBABILITY, metavar="P", help="Share of drafts accepted.  [default: 0.7]")
@click.option("--emit", is_flag=True, help="Print only the code or command that runs it.")
@output_options
@click.option("--offline", is_flag=True, help="Never touch the network.")
def command(model: str, style: str, offline: bool, emit: bool, **options: Any) -> None:
    """Which precision of MODEL to run on this machine (or --device, --ram, --vram), why, and how.

    \b
    sizer recommend Qwen/Qwen3-8B
    sizer recommend meta-llama/Llama-3.1-70B --vram 24GiB --ram 64GiB
    sizer recommend Qwen/Qwen3-32B --device 2xrtx-3090 --context 32k --min-speed 20
    sizer recommend Qwen/Qwen3-32B -d rtx-4090 --draft auto
    sizer recommend mistralai/Mistral-7B-Instruct-v0.3 -d rtx-3060 --emit > run.sh
    """
    from sizer.advise.advice import advise, ladder_questions, usual_workload
    from sizer.advise.family import relatives
    from sizer.advise.recommend import Wanted
    from sizer.model.read.resolve import resolve

    architecture = resolve(model, offline=offline).architecture
    work = work_asked(options)
    asked = work.context_tokens is not None
    workload = usual_workload(architecture, work.workload(), asked)
    questions = ladder_questions(architecture, _target(options), workload, work.engine)
    wanted = Wanted(options["prefer"], options["min_speed"], options["max_loss"])
    advice = advise(questions, wanted, relatives(architecture), engine=work.engine, context_asked=asked)
    if advice.chosen is None:
        raise DoesNotFit(f"{model!r} does not run here: {advice.reason}", _hint(advice, wanted))
    echo(_render(advice, _draft(advice.chosen, options, offline), style, emit, bool(options["draft"])))


def _draft(chosen: Estimate, options: dict[str, Any], offline: bool) -> Draft | None:
    """The draft asked for, or the best of the catalogue."""
    from sizer.advise.draft import USUAL_ACCEPTANCE, best_draft, compatible, draft
    from sizer.advise.family import relatives
    from sizer.model.read.resolve import resolve

    if not options["draft"]:
        return None
    acceptance = USUAL_ACCEPTANCE if options["acceptance"] is None else options["acceptance"]
    length = options["draft_tokens"]
    if options["draft"].lower() == "auto":
        return best_draft(chosen, relatives(chosen.architecture), acceptance=acceptance, draft_tokens=length)
    small = resolve(options["draft"], offline=offline).architecture
    if not compatible(chosen.architecture, small):
        raise UsageError(
            f"{options['draft']!r} cannot draft for {chosen.architecture.model_id!r}: it must be smaller and have the "
            f"same vocabulary ({small.vocab_size:,} entries against {chosen.architecture.vocab_size:,}).",
            "--draft auto takes the best of the catalogue.",
        )
    return draft(chosen, small, acceptance=acceptance, draft_tokens=length)


def offered(options: dict[str, Any]) -> Wanted:
    """What `fit` and `hardware` offer: precisions of a tolerable loss unless --max-loss says otherwise."""
    from sizer.advise.recommend import TOLERABLE_LOSS, Wanted

    given = options["max_loss"]
    return Wanted(options["prefer"], options["min_speed"], TOLERABLE_LOSS if given is None else given)


def _target(options: dict[str, Any]) -> Target:
    """The first target asked for; --vram or --ram alone describe a machine."""
    asked = devices_asked(options)
    if options["vram"] is not None:
        if asked.memory_bytes is not None:
            raise UsageError("--vram and --memory say the same thing.", "Leave one of them out.")
        asked = replace(asked, memory_bytes=options["vram"])
    elif asked.ram_bytes is not None and not asked.names and asked.memory_bytes is None:
        asked = DeviceAsked(names=("consumer-cpu",), ram_bytes=asked.ram_bytes)
    return targets(asked, talk)[0]


def _hint(advice: Advice, wanted: Wanted) -> str:
    if advice.alternatives:
        return advice.alternatives[0].text
    if wanted.min_tokens_per_s is not None and any(item.placement.whole for item in advice.tried):
        return "Lower --min-speed, or take a smaller model or a faster device."
    return "A smaller model, more memory, or --ram for layers on the host would help."


def _render(advice: Advice, draft: Draft | None, style: str, emit: bool, draft_asked: bool) -> str:
    from sizer.report.advice import advice_json, command_of, render_advice

    if emit:
        command = command_of(advice, draft)
        if command is None:
            raise UsageError("there is no recipe for this engine.", "--engine takes one that has a recipe.")
        return command.rstrip("\n")
    if style == "json":
        from sizer.plain_json import dumps

        return dumps(advice_json(advice, draft))
    if style == "csv":
        from sizer.report.table import render_csv

        return render_csv(advice.tried)
    return render_advice(advice, style, draft, draft_asked=draft_asked)
