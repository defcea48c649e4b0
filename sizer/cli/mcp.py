"""`sizer mcp`: the answers as tools, over the Model Context Protocol."""

from __future__ import annotations

import importlib.util

import click

from sizer.errors import UsageError


@click.command()
@click.option("--allow-files", is_flag=True, help="Let MODEL be a path of this machine.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
def command(allow_files: bool, offline: bool) -> None:
    """Offer estimate, recommend, fit, hardware, check and capacity as tools over the Model Context Protocol (stdio).

    The program that asks starts this command; its settings want something like this:

    \b
    {"mcpServers":{"sizer": {"command": "uvx", "args": ["--from", "sizer-llm[mcp]", "sizer", "mcp"]}}}

    \b
    sizer mcp --offline
    """
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("'sizer mcp' needs the package mcp.", "pip install 'sizer-llm[mcp]'.")
    from functools import partial

    import anyio

    from sizer.web.dispatch import Rules
    from sizer.web.tools import serve

    anyio.run(partial(serve, Rules(files=allow_files, offline=offline)))
