"""`sizer web`: the page and its API, from this machine or as a static site."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sizer.cli.common import echo, talk
from sizer.errors import SizerError, UsageError
from sizer.units import MIB

if TYPE_CHECKING:
    from starlette.applications import Starlette

FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8471, show_default=True, help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@click.option("--allow-files", is_flag=True, help="Let MODEL be a path of this machine.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A further name that the page is served as.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
@click.option("--export", "folder", type=FOLDER, metavar="DIR", help="Write the page as a static site instead.")
@click.option("--pyodide", type=FOLDER, metavar="DIR", help="The npm package of Pyodide to put into the site.")
def command(host: str, port: int, hosts: tuple[str, ...], **options: Any) -> None:
    """Serve the page and its API, to this machine alone unless --host says otherwise; or write it as a static site.

    The static site answers the same from the browser alone, offline too. Pyodide comes from a pinned address, or with
    --pyodide from the site itself: npm pack pyodide, unpacked.

    \b
    sizer web
    sizer web --port 9000 --no-browser
    sizer web --export site --pyodide package
    curl 'http://127.0.0.1:8471/api/estimate?model=Qwen/Qwen3-8B&device=rtx-4090&precision=q4_k_m'
    """
    if options["folder"] is not None:
        _export(options["folder"], options["pyodide"])
        return
    if options["pyodide"] is not None:
        raise UsageError("--pyodide is for a static site.", "Add --export DIR.")
    _need_server()
    from sizer.api.asked import DeviceAsked
    from sizer.api.targets import targets
    from sizer.web.app import application
    from sizer.web.dispatch import Rules
    from sizer.web.guard import is_loopback

    if not is_loopback(host):
        talk(f"{host} can be reached from other machines: whoever reaches it may ask.")
        # What this user may read on the hub is not for whoever reaches the page.
        os.environ.pop("HF_TOKEN", None)
        os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"  # noqa: S105 - no password
    # Measures this machine's memory once, so that the first answer about it need not.
    with suppress(SizerError):
        targets(DeviceAsked(), talk)
    rules = Rules(files=options["allow_files"], offline=options["offline"])
    _serve(_listen(host, port), application(rules, host, hosts), open_page=not options["no_browser"])


def _export(folder: Path, pyodide: Path | None) -> None:
    """Write the static site and say what it weighs."""
    from sizer.web.export import export, popular_pairs

    pairs = popular_pairs()
    bar = click.progressbar(length=len(pairs), label="answering popular questions", file=sys.stderr)
    with bar:
        site = export(folder, pyodide, pairs, progress=lambda found: _counted(found, bar))
    echo(f"{folder}: {site.files} files, {site.size_bytes / MIB:.1f} MiB, {site.answers} answers stored.")


def _counted(pairs: Iterable[tuple[str, str]], bar: Any) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        yield pair
        bar.update(1)


def _need_server() -> None:
    """UsageError where the packages of the extra are missing."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"'sizer web' needs {' and '.join(missing)}.", "pip install 'sizer-llm[web]'.")


def _serve(listening: socket.socket, served: Starlette, *, open_page: bool) -> None:
    """Say where, open the page, and answer until interrupted."""
    import uvicorn

    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    address = f"http://{shown}:{port}/"
    echo(address)
    if open_page:
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(
        served,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=256,
        h11_max_incomplete_event_size=32_768,
        timeout_keep_alive=15,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. UsageError where the address cannot be used."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen at {host} port {port}: {error.strerror or error}.", "--port 0 takes a free one."
        ) from None
    return listening
