"""`sizer probe`: what this machine is, and its measured memory bandwidth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from sizer.api.machine import described, probed
from sizer.cli.common import Threshold, echo
from sizer.device.detect import detect, this_target
from sizer.device.machine import Machine
from sizer.device.measured import in_words
from sizer.device.records import Target
from sizer.units import format_bandwidth, format_flops, format_gib


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--fresh", is_flag=True, help="Measure again, even if a measurement is stored.")
@click.option("--flops", is_flag=True, help="Measure FLOP rates too.")
@click.option("--seconds", type=Threshold(0.1, 600), default=4.0, show_default=True, help="Time for the CPUs.")
@click.option("--backend", type=click.Choice(["numpy", "torch", "memcpy"]), help="What moves the bytes.")
def command(as_json: bool, fresh: bool, flops: bool, seconds: float, backend: str | None) -> None:
    """Show this machine, and measure its memory bandwidth as STREAM does, once; later estimates here use it.

    \b
    sizer probe
    sizer probe --fresh --flops
    sizer probe --json
    """
    machine = detect()
    document = probed(machine, fresh=fresh, flops=flops, seconds=seconds, backend=backend or "", say=_say)
    target = this_target(machine=machine)
    if as_json:
        echo(json.dumps({"schema_version": 1, "machine": described(machine, target), **document}, indent=1))
    else:
        echo("\n".join(_lines(machine, target, document)))


def _say(text: str) -> None:
    click.echo(text, err=True)


def _lines(machine: Machine, target: Target, document: dict[str, Any]) -> Iterator[str]:
    cores = f"{machine.cores or '?'} cores, {machine.threads or '?'} threads"
    yield f"CPU      {machine.cpu or 'unknown'} ({cores}) {' '.join(machine.instruction_sets)}".rstrip()
    limit = machine.memory_bytes != machine.physical_memory_bytes and machine.physical_memory_bytes
    shown = format_gib(machine.memory_bytes) if machine.memory_bytes else "unknown"
    yield f"memory   {shown}" + (f" (limited; the machine has {format_gib(limit)})" if limit else "")
    for gpu in machine.gpus:
        size = f", {format_gib(gpu.memory_bytes)}" if gpu.memory_bytes else ""
        yield f"GPU      {gpu.name}{size}" + (f", driver {gpu.driver}" if gpu.driver else "")
    yield f"device   {target.device.key}" + (f" x{target.count}" if target.count > 1 else "")
    yield from (f"         note: {note}" for note in target.notes)
    rate = format_bandwidth(document["memory_bandwidth_bytes_per_s"])
    yield f"measured {rate} CPU memory bandwidth, {in_words(document['age_s'])}"
    for rate in document["kernels"]:
        kernel = f"{rate['kernel']} ({rate['backend']}), {rate['threads']} threads"
        yield f"         {kernel:32} {format_bandwidth(rate['bytes_per_s'])}"
    for rate in document["gpu_memory_bandwidth"]:
        yield f"         {rate['name']} {rate['kernel']:8} {format_bandwidth(rate['bytes_per_s'])}"
    for rate in document["flops"]:
        yield f"         {rate['name']} {rate['number_format']:8} {format_flops(rate['flops_per_s'])}"
    yield from (f"         note: {note}" for note in document["notes"])
