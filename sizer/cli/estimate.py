"""`sizer estimate`: how much memory, how fast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sizer.api.asked import DeviceAsked, WorkAsked, with_vram
from sizer.api.estimates import drafting_of, estimates
from sizer.api.targets import targets
from sizer.cli.common import (
    device_options,
    draft_options,
    network_options,
    output_options,
    show,
    talk,
    workload_options,
)
from sizer.cli.completion import complete_models
from sizer.errors import DoesNotFit, ModelError, UnknownModel, UsageError

if TYPE_CHECKING:
    from sizer.answer.document import Answer
    from sizer.answer.records import Estimate
    from sizer.model.read.resolve import Resolved
    from sizer.report.layout import Lay
    from sizer.report.outputs import Document, Rows

PLOT_KINDS = ("memory", "speed", "batch", "roofline", "frontier", "draft")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models)
@click.option("--precision", "-p", "precisions", multiple=True, metavar="P", help="Repeatable; all lists every one.")
@click.option(
    "--engine", "-e", metavar="E", help="transformers, llama.cpp, vllm ..., also with a version and its own flags."
)
@device_options
@workload_options
@output_options
@draft_options
@click.option("--must-fit", is_flag=True, help="Exit with 4 where none of them fits.")
@click.option("--explain", is_flag=True, help="Write out the arithmetic, number by number.")
@click.option("--plot", type=click.Path(), metavar="FILE", help="Draw them: .png, .svg or .pdf.")
@click.option(
    "--plot-kind", "plot_kinds", multiple=True, type=click.Choice(PLOT_KINDS), help="Repeatable; default: all."
)
@network_options
def command(models: tuple[str, ...], explain: bool, offline: bool, style: str, **options: Any) -> None:
    """How much memory a model needs at each precision, and how fast it runs.

    MODEL is a hub id, a directory, a config.json, a .safetensors or .gguf file, a hub GGUF (org/repo-GGUF:Q4_K_M), or
    a bare size (8B, 8x7B, 141B-A35B). Several MODELs or --devices are compared side by side.

    \b
    sizer estimate meta-llama/Meta-Llama-3-8B-Instruct --device a100
    sizer estimate Qwen/Qwen3-30B-A3B -d rtx-4090 -d m2-ultra -p q4_k_m --context 32k
    sizer estimate ./model.gguf --device rtx-3060 --ram 32GiB --explain
    sizer estimate 8x7B --bandwidth 936GB/s --memory 24GiB --json
    """
    if options["plot_kinds"] and options["plot"] is None:
        raise UsageError("--plot-kind says what --plot draws.", "Add --plot FILE.")
    drafting = drafting_of(options["draft"], options["draft_tokens"], options["acceptance"], offline=offline)
    work = replace(work_asked(options), drafting=drafting)
    found_targets = targets(devices_asked(options), talk)
    answers = [
        [list(estimates(resolved, target, work)) for target in found_targets] for resolved in _resolved(models, offline)
    ]
    show(document_of(answers, explain), style)
    if options["must_fit"] and not any(item.placement.fits for model in answers for items in model for item in items):
        raise DoesNotFit("none of them fits.", "'sizer recommend' finds what does; --ram lets layers go to the host.")
    if options["plot"] is not None:
        from pathlib import Path  # it takes a fiftieth of an offline estimate to load

        from sizer.report.plots import save

        drawn = [item for model in answers for items in model for item in items]
        save(drawn, Path(options["plot"]), options["plot_kinds"])


def _resolved(models: tuple[str, ...], offline: bool) -> list[Resolved]:
    """The models. Raises UnknownModel where the words are one model's name that nobody quoted: some are no model, or
    all behind the first are sizes (`qwen3 8b`)."""
    from sizer.model.read.resolve import resolve

    whole = " ".join(models)
    unquoted = UnknownModel(f"{len(models)} models are named.", f"Quote the words of one: {whole!r}.")
    sizes = [_is_size(word) for word in models]
    if len(models) > 1 and not sizes[0] and all(sizes[1:]) and "/" not in whole and is_catalogued(whole):
        raise unquoted
    try:
        return [resolve(model, offline=offline) for model in models]
    except ModelError:
        if len(models) > 1 and is_catalogued(whole):
            raise unquoted from None
        raise


def _is_size(word: str) -> bool:
    """Whether a word is a size and nothing else: `8b`, `30b-a3b`."""
    from sizer.model.read.names import parse_name

    return word[:1].isdigit() and parse_name(word).total_params is not None


def is_catalogued(text: str) -> bool:
    """Whether the text names a model of the catalogue, as people type it."""
    from sizer.model.architecture import Basis
    from sizer.model.read.resolve import resolve

    try:
        return resolve(text, offline=True).basis is Basis.CATALOGUE
    except ModelError:
        return False


def work_asked(options: dict[str, Any]) -> WorkAsked:
    """The options of `workload_options` (and precisions, engine) as a record."""
    return WorkAsked(
        precisions=options.get("precisions", ()),
        engine=options.get("engine"),
        prompt_tokens=options["prompt"],
        output_tokens=options["output"],
        context_tokens=options["context"],
        batch_size=options["batch"],
        kv_precision=options["kv_precision"],
        parallelism=options["parallel"],
        gpu_layers=options["gpu_layers"],
        threads=options["threads"],
    )


def devices_asked(options: dict[str, Any]) -> DeviceAsked:
    """The options of `device_options` as a record."""
    asked = DeviceAsked(
        names=options["devices"],
        bandwidth_bytes_per_s=options["bandwidth"],
        memory_bytes=options["memory"],
        flops_per_s=options["flops"],
        power_limit_w=options["power_limit"],
        host=options["host"],
        ram_bytes=options["ram"],
        ram_bandwidth_bytes_per_s=options["ram_bandwidth"],
        reserve_bytes=options.get("reserve"),
    )
    return with_vram(asked, options.get("vram"))


def document_of(answers: list[list[list[Estimate]]], explain: bool) -> Document:
    """All models' estimates by device: JSON is one object a model, a list for several."""
    from sizer.report.outputs import Document

    flat = [[item for items in by_device for item in items] for by_device in answers]

    def page(lay: Lay) -> str:
        if explain:
            from sizer.report.explain import render_explanation

            return "\n\n".join(render_explanation(item) for items in flat for item in items)
        from sizer.report.table import render

        return "\n\n".join(render(items, lay) for by_device in answers for items in by_device)

    def rows() -> Rows:
        from sizer.report.table import flat_rows

        return flat_rows([item for items in flat for item in items])

    return Document(lambda: _record(flat), rows, page)


def _record(answers: list[list[Estimate]]) -> Answer | list[Answer]:
    from sizer.advise.reasons import recommendation
    from sizer.answer.public import answer

    documents = [answer(items, recommendation(items)) for items in answers]
    return documents[0] if len(documents) == 1 else documents
