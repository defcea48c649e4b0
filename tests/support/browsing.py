"""A real browser for the page's tests: Debian's Chromium, driven by Playwright, talking to this machine alone."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")
PYODIDE = "SIZER_PYODIDE"
LONGEST_MS = 180_000
"""How long anything on a page is waited for: more than a busy machine takes."""


def chromium_path() -> str | None:
    """The installed browser, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def pyodide_path() -> Path | None:
    """The npm package of Pyodide: the folder or .tgz that SIZER_PYODIDE names, if it is there."""
    named = os.environ.get(PYODIDE)
    return Path(named) if named and Path(named).exists() else None


class Browsed:
    """Pages of one browser; `page.asked` keeps every address that a page asks for, `page.sent` those not by GET."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    @contextmanager
    def page(self, url: str, **options: Any) -> Iterator[Any]:
        """A page of a fresh profile at an address, its first answer shown. Scripts that fail make the test fail."""
        context = self.browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        faults: list[str] = []
        context.set_default_timeout(LONGEST_MS)
        page = context.new_page()
        page.asked, page.sent = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("request", lambda request: page.sent.append(request.url) if request.method != "GET" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda text: faults.append(text.text) if "Content Security" in text.text else None)
        try:
            page.goto(url)
            answered(page)
            yield page
        finally:
            context.close()
        assert not faults, faults


def answered(page: Any, times: int = 1) -> None:
    """Wait until the page has shown so many answers."""
    page.evaluate(
        """([times, most]) => new Promise((done, failed) => {
            const look = () => performance.getEntriesByName("answered").length >= times ? done() : setTimeout(look, 10);
            setTimeout(() => failed(new Error(`no answer within ${most} ms`)), most);
            look();
        })""",
        [times, LONGEST_MS],
    )


def answers(page: Any) -> int:
    """How many answers the page has shown."""
    return int(page.evaluate("performance.getEntriesByName('answered').length"))


def visit(page: Any, query: str) -> None:
    """Go to another question as a link within the page does, and wait for its answer."""
    before = answers(page)
    page.evaluate(
        "(query) => { history.pushState(null, '', query); dispatchEvent(new PopStateEvent('popstate')); }", query
    )
    answered(page, before + 1)


@contextmanager
def served_page(application: Any) -> Iterator[str]:
    """The address of an application served to this machine."""
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # a browser that comes before the server waits
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served_folder(folder: Path) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """The address of a folder of files, and its server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
