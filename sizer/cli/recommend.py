"""`sizer recommend`: which precision to run, why, and the command that runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sizer.api import DeviceAsked, targets
from sizer.cli.common import device_options, echo, output_options, workload_options
from sizer.cli.estimate import devices_asked, work_asked
from sizer.errors import DoesNotFit
from sizer.units import parse_bytes

if TYPE_CHECKING:
    from sizer.advise.advice import Advice
    from sizer.device.records import Target

PREFER = click.Choice(["balanced", "quality", "speed", "memory"])


@click.command()
@click.argument("model")
@device_options
@click.option("--vram", type=parse_bytes, metavar="SIZE", help="A GPU with this memory, whichever it is.")
@workload_options
@click.option("--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ...  [default: the usual one]")
@click.option("--min-speed", type=click.FloatRange(min=0), metavar="N", help="Decode tokens/s to reach.")
@click.option("--prefer", type=PREFER, default="balanced", show_default=True, help="Which way to lean.")
@click.option("--emit", is_flag=True, help="Print only the code or command that runs it.")
@output_options
@click.option("--offline", is_flag=True, help="Never touch the network.")
def command(model: str, style: str, offline: bool, emit: bool, **options: Any) -> None:
    """Which precision of MODEL to run on this machine (or --device, --ram, --vram), why, and how.

    \b
    sizer recommend Qwen/Qwen3-8B
    sizer recommend meta-llama/Llama-3.1-70B --vram 24GiB --ram 64GiB
    sizer recommend Qwen/Qwen3-32B --device 2xrtx-3090 --context 32k --min-speed 20
    sizer recommend mistralai/Mistral-7B-Instruct-v0.3 -d rtx-3060 --emit > run.sh
    """
    from sizer.advise.advice import advise, questions_for, usual_workload
    from sizer.advise.family import relatives
    from sizer.advise.recommend import Wanted
    from sizer.model.resolve import resolve

    architecture = resolve(model, offline=offline).architecture
    work = work_asked(options)
    workload = usual_workload(architecture, work.workload(), work.context_tokens is not None)
    target = _target(options)
    wanted = Wanted(options["prefer"], options["min_speed"])
    advice = advise(questions_for(architecture, target, workload, work.engine), wanted, relatives(architecture))
    if advice.chosen is None:
        raise DoesNotFit(f"{model!r} does not run here: {advice.reason}", _hint(advice))
    echo(_render(advice, style, emit))


def _target(options: dict[str, Any]) -> Target:
    """The first target asked for; --vram or --ram alone describe a machine."""
    asked = devices_asked(options)
    if options["vram"] is not None and not asked.names:
        asked = replace(asked, memory_bytes=options["vram"])
    elif asked.ram_bytes is not None and not asked.names and asked.memory_bytes is None:
        asked = DeviceAsked(names=("consumer-cpu",), ram_bytes=asked.ram_bytes)
    return targets(asked)[0]


def _hint(advice: Advice) -> str:
    return "A smaller model, more memory, or --ram for layers on the host would help." if advice.tried else ""


def _render(advice: Advice, style: str, emit: bool) -> str:
    from sizer.report.advice import advice_json, render_advice

    if emit:
        from sizer.advise.recipes import recipe

        assert advice.chosen is not None
        return recipe(advice.chosen).rstrip("\n")
    if style == "json":
        from sizer.report.json import dumps

        return dumps(advice_json(advice))
    if style == "csv":
        from sizer.report.table import render_csv

        return render_csv(advice.tried)
    return render_advice(advice, style)
