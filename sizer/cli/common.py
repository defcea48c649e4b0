"""Options that several commands share, and the one way to write a result."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from sizer.api.asked import MOST_BYTES
from sizer.cli.completion import complete_devices
from sizer.errors import UsageError
from sizer.printable import printable
from sizer.report.outputs import FORMATS, Document, write
from sizer.units import (
    MIB,
    parse_bytes,
    parse_flops,
    parse_layers,
    parse_rate,
    parse_seconds,
    parse_tokens,
    parse_watts,
    parse_whole,
)
from sizer.workload import MOST_DRAFTED, USUAL_DRAFTED

Command = TypeVar("Command", bound=Callable[..., Any])

JSON_ASKED = "sizer.json"
SINK = "sizer.sink"
"""Where a command run from within (the page's API) leaves its result: a list in the context's `meta`."""


class Quantity(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An option's text read by a function of `sizer.units`: what it cannot read is refused under the option's name."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text; a default that is no text stays. Raises UsageError with the option and the text."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except UsageError as error:
            option = f"{max(param.opts, key=len)} " if param is not None else ""
            raise type(error)(f"{option}{error.message}", error.hint) from None


def _memory(text: str) -> int:
    """Bytes of a memory; a bare `24` is 24 bytes, which nobody means."""
    size_bytes = parse_bytes(text)
    if size_bytes < MIB:
        raise UsageError(f"{text!r} is {size_bytes:,} bytes.", f"Did you mean {text.strip()}GiB?")
    if size_bytes > MOST_BYTES:
        raise UsageError(f"{text!r} is more memory than 1 EiB.", "Write it as 24GiB (2^30) or 24GB (10^9).")
    return size_bytes


class Threshold(click.FloatRange):
    """A range of numbers; `nan`, which compares with nothing, lies in none. What is outside is named as typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, within the range."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        try:
            super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(error.message.replace(str(number), repr(value), 1), param, ctx)
        return number


def words(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A callback: the text or texts to look for. One that is typed without a letter or digit would silently keep all.

    A script's unset variable is typed so.
    """
    typed = ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.DEFAULT
    for text in (value if isinstance(value, tuple) else (value,)) if typed else ():
        if not any(character.isalnum() for character in text):
            raise click.BadParameter(f"{text!r} has no letter and no digit. Leave the option out for all.", ctx, param)
    return value


SIZE = Quantity("size", _memory)
RATE = Quantity("rate", parse_rate)
TOKENS = Quantity("tokens", parse_tokens)
WHOLE = Quantity("number", parse_whole)
SECONDS = Quantity("time", parse_seconds)
PROBABILITY = Threshold(0, 1)
NOT_NEGATIVE = Threshold(min=0)


def _context(text: str) -> int | str:
    return "max" if text.strip().lower() == "max" else parse_tokens(text)


def _apply(options: list[Callable[[Any], Any]], function: Command) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def device_options(function: Command, devices: str = "Repeatable; default: this machine.") -> Command:
    """--device and what describes or overrides it."""
    options = [
        click.option(
            "--device",
            "-d",
            "devices",
            multiple=True,
            metavar="D",
            help=devices,
            shell_complete=complete_devices,
        ),
        click.option("--bandwidth", type=RATE, metavar="RATE", help="Memory bandwidth of the device, as 936GB/s."),
        click.option("--memory", type=SIZE, metavar="SIZE", help="Memory of the device, as 24GiB."),
        click.option("--vram", type=SIZE, metavar="SIZE", help="A GPU with this memory, whichever it is."),
        click.option(
            "--flops",
            type=Quantity("rate", parse_flops),
            metavar="RATE",
            help="Dense 16-bit compute of the device, as 71TFLOPS.",
        ),
        click.option(
            "--power-limit",
            type=Quantity("power", parse_watts),
            metavar="WATTS",
            help="Power that the device is held to, as 250W.",
        ),
        click.option("--reserve", type=SIZE, metavar="SIZE", help="Memory of each device that others use, as 1GiB."),
        click.option("--host", metavar="D", help="CPU that holds what does not fit on the device."),
        click.option("--ram", type=SIZE, metavar="SIZE", help="The host's memory, as 64GiB."),
        click.option("--ram-bandwidth", type=RATE, metavar="RATE", help="The host's memory bandwidth."),
    ]
    return _apply(options, function)


def draft_options(function: Command) -> Command:
    """--draft and how it is used."""
    options = [
        click.option("--draft", metavar="MODEL", help="A draft model, or mtp, eagle, dflash, medusa, ngram."),
        click.option(
            "--draft-tokens",
            type=click.IntRange(1, MOST_DRAFTED),
            help=f"Drafted a step.  [default: as the engine's flags say, else {USUAL_DRAFTED}]",
        ),
        click.option("--acceptance", type=PROBABILITY, metavar="P", help="Of each drafted token.  [default: 0.7]"),
    ]
    return _apply(options, function)


def one_device_options(function: Command) -> Command:
    """The same of a command that answers for one device."""
    return device_options(function, "Default: this machine.")


def workload_options(function: Command, context: str = "prompt + output") -> Command:
    """Tokens, batch, cache and ways to split; `context` says what its default is."""
    options = [
        click.option(
            "--prompt", type=TOKENS, metavar="TOKENS", default="512", show_default=True, help="Prompt tokens."
        ),
        click.option(
            "--output", type=TOKENS, metavar="TOKENS", default="128", show_default=True, help="Generated tokens."
        ),
        click.option(
            "--context",
            type=Quantity("tokens", _context),
            metavar="TOKENS|max",
            help=f"Cache length in tokens, or max.  [default: {context}]",
        ),
        click.option("--batch", type=WHOLE, metavar="N", default="1", show_default=True, help="Sequences at once."),
        click.option("--kv-precision", default="fp16", show_default=True, help="fp16, fp8, q8_0, q4_0 ..."),
        click.option("--parallel", metavar="tensor|pipeline|layer", help="How several devices share the model."),
        click.option(
            "--gpu-layers",
            type=Quantity("layers", parse_layers),
            metavar="N|auto",
            help="Layers on the device, the rest on the host, or auto.",
        ),
        click.option("--threads", type=WHOLE, metavar="N", help="CPU threads."),
    ]
    return _apply(options, function)


def advised_workload_options(function: Command) -> Command:
    """The same of a command that advises: what one runs has room for a usual context (`advise.advice`)."""
    return workload_options(function, "8192, more where prompt + output are")


def output_options(function: Command, own: Sequence[str] = ()) -> Command:
    """--format and its short form; `own` are formats that only this command has."""
    options = [
        click.option(
            "--format",
            "style",
            type=click.Choice([*FORMATS, *own]),
            default="table",
            show_default=True,
            callback=_style,
        ),
        click.option(
            "--json",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_ask_json,
            help="Short for --format json.",
        ),
    ]
    return _apply(options, function)


def network_options(function: Command) -> Command:
    """--offline, and how long the hub may take."""
    options = [
        click.option("--offline", is_flag=True, help="Never touch the network."),
        click.option(
            "--timeout",
            type=Threshold(0.1, 86_400),
            metavar="SECONDS",
            expose_value=False,
            is_eager=True,
            callback=_hub_timeout,
            help="How long the hub may take for an answer.  [default: 15]",
        ),
    ]
    return _apply(options, function)


def _hub_timeout(_ctx: click.Context, _param: click.Parameter, seconds: float | None) -> None:
    """Tell the hub's room, which is not imported yet."""
    if seconds is not None:
        os.environ["SIZER_HUB_TIMEOUT"] = str(seconds)


def _ask_json(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    ctx.meta[JSON_ASKED] = asked


def _style(ctx: click.Context, _param: click.Parameter, style: str) -> str:
    """The style of --format, or JSON for --json. Raises UsageError where both are given and differ."""
    if not ctx.meta.get(JSON_ASKED):
        return style
    if style not in {"table", "json"}:
        raise UsageError(f"--json and --format {style} contradict each other.", "Leave one of them out.")
    return "json"


def echo(text: str) -> None:
    """Write a result to stdout, what would steer a terminal escaped; or, run from within, to the context's list."""
    ctx = click.get_current_context(silent=True)
    sink = None if ctx is None else ctx.meta.get(SINK)
    if sink is None:
        click.echo(printable(text))
    else:
        sink.append(printable(text))


def show(document: Document, style: str) -> None:
    """Write a result to stdout in the format asked for."""
    echo(write(document, style))


def talk(text: str) -> None:
    """Say something on stderr: progress and remarks, never data."""
    click.echo(f"sizer: {printable(text)}", err=True)
