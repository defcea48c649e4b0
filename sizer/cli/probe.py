"""`sizer probe`: what this machine is and how that is known, and its measured memory bandwidth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import click

from sizer.api.machine import probed, report, told
from sizer.cli.common import Threshold, echo
from sizer.device.detect import detect, this_target
from sizer.device.known import Knowledge, knowledge
from sizer.device.machine import Machine
from sizer.device.measured import in_words
from sizer.device.records import Target
from sizer.errors import UsageError
from sizer.report.wrap import wrapped
from sizer.units import format_bandwidth, format_flops, format_gib

WIDTH = 100
"""Columns that the facts are wrapped to."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--report", "as_report", is_flag=True, help="Print what the tools said, nothing personal: for a bug report."
)
@click.option("--fresh", is_flag=True, help="Measure again, even if a measurement is stored.")
@click.option("--flops", is_flag=True, help="Measure FLOP rates too.")
@click.option("--seconds", type=Threshold(0.1, 600), default=4.0, show_default=True, help="Time for the CPUs.")
@click.option("--backend", type=click.Choice(["numpy", "torch", "memcpy"]), help="What moves the bytes.")
def command(as_json: bool, as_report: bool, **options: Any) -> None:
    """Show this machine, how each fact is known, and what is not; measure its memory bandwidth once, as STREAM does.

    Later estimates here use the measurement. What could not be known stands with what to type instead.

    \b
    sizer probe
    sizer probe --fresh --flops
    sizer probe --json
    sizer probe --report > my-machine.txt
    """
    if as_report:
        if as_json or options["fresh"] or options["flops"] or options["backend"]:
            raise UsageError("--report prints what the machine's tools say.", "Leave the other options out.")
        echo(report().rstrip("\n"))
        return
    machine = detect()
    options["backend"] = options["backend"] or ""
    document = probed(machine, say=lambda text: click.echo(text, err=True), **options)
    target = this_target(machine=machine)
    if as_json:
        echo(json.dumps(told(machine, target, document), indent=1))
    else:
        echo(wrapped("\n".join(_lines(machine, target, document))))


def _lines(machine: Machine, target: Target, document: dict[str, Any]) -> Iterator[str]:
    known = knowledge(machine, target, document)
    yield from _summary(machine, target)
    yield from _facts(known)
    yield from _not_known(machine, known)
    yield ""
    rate = format_bandwidth(document["memory_bandwidth_bytes_per_s"])
    yield f"measured {rate} CPU memory bandwidth, {in_words(document['age_s'])}"
    yield from _rates(document)
    yield from _noted(document["notes"])


def _summary(machine: Machine, target: Target) -> Iterator[str]:
    cores = f"{machine.cores or '?'} cores, {machine.threads or '?'} threads"
    yield f"CPU      {machine.cpu or 'unknown'} ({cores}) {' '.join(machine.instruction_sets)}".rstrip()
    limit = machine.memory_bytes != machine.physical_memory_bytes and machine.physical_memory_bytes
    shown = format_gib(machine.memory_bytes) if machine.memory_bytes else "unknown"
    yield f"memory   {shown}" + (f" (limited; the machine has {format_gib(limit)})" if limit else "")
    for gpu in machine.gpus:
        size = f", {format_gib(gpu.memory_bytes)}" if gpu.memory_bytes else ""
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        yield f"GPU      {gpu.name}{size}{driver}{' (in the processor)' if gpu.integrated else ''}"
    yield f"device   {target.device.key}" + (f" x{target.count}" if target.count > 1 else "")
    yield from _noted(target.notes)


def _noted(notes: Iterable[str]) -> Iterator[str]:
    from textwrap import wrap

    for note in notes:
        yield from wrap(f"note: {note}", WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 15)


def _facts(known: Knowledge) -> Iterator[str]:
    from tabulate import tabulate

    rows = [(fact.fact, _cut(fact.value), fact.source) for fact in dict.fromkeys(known.facts)]
    if rows:
        yield ""
        yield from tabulate(rows, headers=("fact", "value", "how it is known")).splitlines()


def _cut(text: str) -> str:
    """A value that leaves room for its source."""
    return text if len(text) <= WIDTH // 2 else f"{text[: WIDTH // 2 - 3]}..."


def _not_known(machine: Machine, known: Knowledge) -> Iterator[str]:
    if known.unknown:
        yield ""
    yield from (f"not known: {item.fact} ({item.reason}): {item.type}" for item in known.unknown)
    yield from (f"does not add up: {doubt}" for doubt in machine.doubts)
    if known.table_line:
        yield "the line that adds it to data/devices.csv, with what is known of it:"
        yield f"  {known.table_line}"


def _rates(document: dict[str, Any]) -> Iterator[str]:
    several = len({rate.get("cores") for rate in document["kernels"]}) > 1
    for rate in document["kernels"]:
        where = f" on {rate.get('cores', 'all')} cores" if several else ""
        kernel = f"{rate['kernel']} ({rate['backend']}), {rate['threads']} threads{where}"
        yield f"         {kernel:32} {format_bandwidth(rate['bytes_per_s'])}"
    for rate in document["gpu_memory_bandwidth"]:
        yield f"         {rate['name']} {rate['kernel']:8} {format_bandwidth(rate['bytes_per_s'])}"
    for rate in document["flops"]:
        yield f"         {rate['name']} {rate['number_format']:8} {format_flops(rate['flops_per_s'])}"
