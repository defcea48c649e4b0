"""`sizer precisions`: the formats that weights come in, and what each costs."""

from __future__ import annotations

import click

from sizer.cli.common import output_options, show
from sizer.errors import UnknownPrecision
from sizer.precision.listing import Listed
from sizer.precision.listing import listing as listed
from sizer.report.outputs import listing

Row = dict[str, str | float | None]


@click.command()
@click.argument("text", nargs=-1)
@output_options
def command(text: tuple[str, ...], style: str) -> None:
    """List the precisions whose name, kind, description or engines hold every word of TEXT.

    Bits per weight are those of a whole model (Llama-3-8B): scales, and what the scheme leaves in 16 bits, included.
    The loss is the KL divergence from the 16-bit model, where a source measured it.

    \b
    sizer precisions
    sizer precisions gguf
    sizer precisions vllm --json
    """
    wanted = " ".join(text)
    found = listed(wanted)
    if not found:
        raise UnknownPrecision(f"no precision matches {wanted!r}.", "`sizer precisions` lists them all.")
    show(listing([_row(entry) for entry in found], _for_people), style)


def _row(entry: Listed) -> Row:
    return {
        "precision": entry.precision,
        "kind": entry.kind,
        "bits_per_weight": round(entry.bits_per_weight, 4),
        "format_bits_per_weight": round(entry.format_bits_per_weight, 4),
        "kl_divergence": entry.kl_divergence,
        "delta_perplexity": entry.delta_perplexity,
        "engines": " ".join(entry.engines),
        "description": entry.description,
        "source": entry.source,
    }


def _for_people(row: Row) -> Row:
    loss, engines = row["kl_divergence"], str(row["engines"]).split()
    return {
        "precision": row["precision"],
        "bits/weight": f"{float(row['bits_per_weight'] or 0):.2f}",
        "loss (KLD)": None if loss is None else f"{float(loss):.2g}",
        "engines": ", ".join(engines[:2]) + (f" +{len(engines) - 2}" if len(engines) > 2 else ""),
        "what it is": row["description"],
    }
