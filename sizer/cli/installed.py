"""`sizer installed`: the models found on this machine."""

from __future__ import annotations

from typing import Any

import click

from sizer.cli.common import one_device_options, output_options, show, talk, workload_options
from sizer.cli.estimate import devices_asked, work_asked
from sizer.errors import UnknownModel


@click.command()
@click.argument("text", nargs=-1)
@one_device_options
@workload_options
@click.option("--engine", "-e", metavar="E", help="Another engine than that of the program that keeps the model.")
@output_options
@click.option("--offline", is_flag=True, help="Accepted everywhere; nothing here touches the network.")
def command(text: tuple[str, ...], style: str, offline: bool, **options: Any) -> None:  # noqa: ARG001 - see its help
    """List the models that Ollama, LM Studio, llama.cpp and the hub's cache keep here: what each takes, how fast it is.

    Each is read by its own header, whole or in parts, and nothing is loaded. TEXT keeps those whose name holds every
    word of it.

    \b
    sizer installed
    sizer installed qwen --context 32k
    sizer installed --json
    """
    from sizer.api.installed import installed
    from sizer.api.targets import targets
    from sizer.api.wanted import only
    from sizer.model.read.stores import STORES, kept_models
    from sizer.report.installed import installed_document

    kept = [item for item in kept_models() if all(word.lower() in item.name.lower() for word in text)]
    if not kept:
        what = f" whose name holds {' '.join(text)!r}" if text else ""
        raise UnknownModel(f"no model{what} is kept here.", f"Looked in: {', '.join(STORES)}.")
    target = only(targets(devices_asked(options), talk))
    show(installed_document(installed(kept, target, work_asked(options))), style)
