"""The page's files as they are served or exported."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PAGE = Path(__file__).parent / "page"
MARK = "<!-- modules -->"
LATER = frozenset({"app.js", "browser.js", "worker.js", "sw.js"})
SOONEST = ("early.js", "api.js", "state.js")
"""Scripts that the first answer does not wait for, or whose place is told apart."""


@cache
def page_files() -> dict[str, bytes]:
    """Each file of the page by name; the page tells the browser of every module, so that it asks for all at once."""
    files = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()}
    others = sorted(name for name in files if name.endswith(".js") and name not in {*LATER, *SOONEST})
    modules = [*SOONEST, "app.js", *others]
    links = "\n".join(f'<link rel="modulepreload" href="{name}">' for name in modules)
    files["index.html"] = files["index.html"].replace(MARK.encode(), links.encode())
    return files
