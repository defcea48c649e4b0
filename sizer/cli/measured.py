"""`sizer measured`: the measured rows nearest to a model, device, precision and engine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from sizer.cli.common import output_options, show, talk
from sizer.report.outputs import listing
from sizer.units import significant

MOST_ROWS = 40
"""Rows of one screen."""


@click.command()
@click.argument("model")
@click.option("--device", "-d", metavar="D", help="Rows of this device alone.")
@click.option("--precision", "-p", metavar="P", default="", help="Rows of this precision first.")
@click.option("--engine", "-e", metavar="E", default="", help="Rows of this engine first.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
@output_options
def command(*, model: str, device: str | None, precision: str, engine: str, offline: bool, style: str) -> None:
    """List measured speeds of MODEL, with their source and date; `same` says what they share with what you ask.

    These are rows of one sequence on one device that the prediction learned from; none is made up, and where none is
    near the list is empty.

    \b
    sizer measured Qwen/Qwen3-8B
    sizer measured meta-llama/Meta-Llama-3-8B-Instruct --device rtx-4090 --precision q4_k_m
    sizer measured Qwen/Qwen3-30B-A3B --json
    """
    from sizer.answer.measured import measured_of
    from sizer.device.catalogue import find
    from sizer.engine.engines import find_engine
    from sizer.model.read.resolve import resolve
    from sizer.precision.names import canonical

    architecture = resolve(model, offline=offline).architecture
    key = find(device).device.key if device else None
    asked = (canonical(precision) if precision else "", find_engine(engine).name if engine else "")
    rows = [{"quantity": quantity, **asdict(row)} for quantity, row in measured_of(architecture.model_id, key, *asked)]
    if not rows:
        talk(_none_of(architecture.model_id, device))
    show(listing(rows if style != "table" else rows[:MOST_ROWS], _for_people), style)


def _none_of(model: str, device: str | None) -> str:
    """What to say where no row is of the model, or none on the device."""
    from sizer.answer.measured import measured_of

    where = f" on {device}" if device else ""
    elsewhere = len(measured_of(model, None, "", "")) if device else 0
    more = f" {elsewhere:,} are of other devices: leave -d out to see them." if elsewhere else ""
    return f"no measured row of {model}{where}: `sizer estimate` predicts it.{more}"


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": row["quantity"],
        "tok/s": significant(row["tokens_per_s"], 4),
        "device": row["device"].removeprefix("NVIDIA ").removeprefix("GeForce ").removeprefix("AMD Radeon ")[:24],
        "engine": " ".join([row["engine"], *row["engine_version"].split()[:1]]),
        "precision": row["precision"],
        "depth": row["context_tokens"] if row["quantity"] == "decode" else row["prompt_tokens"],
        "date": row["date"][:7],
        "id": row["id"],
    }
