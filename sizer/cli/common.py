"""Options that several commands share, and the one way to write a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sizer.errors import UsageError
from sizer.units import parse_bytes, parse_count, parse_flops, parse_rate

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv", "markdown")


def _context(text: str) -> int | str:
    return "max" if text.strip().lower() == "max" else parse_count(text)


def _gpu_layers(text: str) -> int | None:
    if text.strip().lower() == "auto":
        return None
    if not text.strip().isdigit():
        raise UsageError(f"--gpu-layers {text!r} is no number of layers.", "Write a whole number, or auto.")
    return int(text)


def _apply(options: list[Callable[[Any], Any]], function: Command) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def device_options(function: Command) -> Command:
    """--device and what describes or overrides it."""
    options = [
        click.option(
            "--device", "-d", "devices", multiple=True, metavar="D", help="Repeatable; default: this machine."
        ),
        click.option(
            "--bandwidth", type=parse_rate, metavar="RATE", help="Memory bandwidth of the device, as 936GB/s."
        ),
        click.option("--memory", type=parse_bytes, metavar="SIZE", help="Memory of the device, as 24GiB."),
        click.option(
            "--flops", type=parse_flops, metavar="RATE", help="Dense 16-bit compute of the device, as 71TFLOPS."
        ),
        click.option("--host", metavar="D", help="CPU that holds what does not fit on the device."),
        click.option("--ram", type=parse_bytes, metavar="SIZE", help="The host's memory, as 64GiB."),
        click.option("--ram-bandwidth", type=parse_rate, metavar="RATE", help="The host's memory bandwidth."),
    ]
    return _apply(options, function)


def workload_options(function: Command) -> Command:
    """Tokens, batch, cache and ways to split."""
    options = [
        click.option(
            "--prompt", type=parse_count, metavar="TOKENS", default="512", show_default=True, help="Prompt tokens."
        ),
        click.option(
            "--output", type=parse_count, metavar="TOKENS", default="128", show_default=True, help="Generated tokens."
        ),
        click.option(
            "--context",
            type=_context,
            metavar="TOKENS|max",
            help="Cache length in tokens, or max.  [default: prompt + output]",
        ),
        click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Sequences at once."),
        click.option("--kv-precision", default="fp16", show_default=True, help="fp16, fp8, q8_0, q4_0 ..."),
        click.option("--parallel", type=click.Choice(["tensor", "pipeline", "layer"]), help="Several devices."),
        click.option(
            "--gpu-layers",
            type=_gpu_layers,
            metavar="N|auto",
            help="Layers on the device, the rest on the host, or auto.",
        ),
        click.option("--threads", type=click.IntRange(1, 4096), help="CPU threads."),
    ]
    return _apply(options, function)


def output_options(function: Command) -> Command:
    """--format and its short form."""
    options = [
        click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True),
        click.option("--json", "style", flag_value="json", help="Short for --format json."),
    ]
    return _apply(options, function)


def echo(text: str) -> None:
    """Write a result to stdout."""
    click.echo(text)


def talk(text: str) -> None:
    """Say something on stderr: progress and remarks, never data."""
    click.echo(f"sizer: {text}", err=True)
