"""What a shell offers where a model or a device is asked for: `eval "$(_SIZER_COMPLETE=bash_source sizer)"`."""

from __future__ import annotations

import click

MOST = 50
"""Names that a shell is offered."""


def complete_models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The catalogued models, and files of this folder, that begin with what is typed (with or without the maker)."""
    from sizer.model.read.catalogue import entries

    wanted = incomplete.lower()
    names = [entry.model_id for entry in entries()]
    begun = [name for name in names if name.lower().startswith(wanted)]
    return (begun or [name for name in names if name.lower().rsplit("/", 1)[-1].startswith(wanted)])[:MOST]


def complete_devices(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The devices and classes that begin with what is typed; a count before them (`2x`) is kept."""
    from sizer.device.catalogue import search
    from sizer.device.clouds import instances, named_classes

    head, times, tail = incomplete.partition("x")
    count, wanted = (f"{head}x", tail) if times and head.isdigit() else ("", incomplete)
    names = [device.key for device in search()] + [named.name for named in named_classes()] + ["this"]
    names += [f"{item.cloud}:{item.name}" for item in instances()] if ":" in wanted else []
    return [f"{count}{name}" for name in names if name.lower().startswith(wanted.lower())][:MOST]
