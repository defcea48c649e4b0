"""One browser for all tests of the page, the page served, and the static site; what is missing is said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from browsing import FLAGS, PYODIDE, Browsed, chromium_path, pyodide_path, served_folder, served_page

SITE_PAIRS = [("Qwen/Qwen3-8B", "rtx-4090"), ("Qwen/Qwen3-32B", "rtx-4060")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browsed]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield Browsed(started)
        started.close()


@pytest.fixture(scope="session")
def served() -> Iterator[str]:
    """The page's address, served to this machine. Each question is computed once, whatever tests show its answer."""
    pytest.importorskip("uvicorn")
    from sizer.web import app
    from sizer.web.dispatch import Reply, Rules, reply

    remembered = lru_cache(None)(reply)

    def answer(name: str, query: list[tuple[str, str]], rules: Rules) -> Reply:
        return remembered(name, tuple(query), rules)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "reply", answer)
        with served_page(app.application(Rules(offline=True))) as address:
            yield address


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static site, in a folder of a server's folder, with Pyodide in it."""
    source = pyodide_path()
    if source is None:
        pytest.skip(f"no Pyodide: {PYODIDE} names its npm package (npm pack pyodide)")
    from sizer.web.export import export

    folder = tmp_path_factory.mktemp("server") / "some" / "where"
    export(folder, source, SITE_PAIRS)
    return folder


@pytest.fixture(scope="session")
def site(site_folder: Path) -> Iterator[str]:
    """The static site's address."""
    with served_folder(site_folder.parent.parent) as (address, _):
        yield f"{address}some/where/"
