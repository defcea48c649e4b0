"""The API as the browser's own Python answers it: the same dispatch as the server, without one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sizer.web.dispatch import Rules, reply

DROPPED = Rules(files=True)
"""Files are allowed: the only ones there are those that the reader dropped on the page, and the package itself."""


def answer(name: str, query: str) -> str:
    """The JSON of an answer to a query, which is a JSON list of [name, value] pairs."""
    return reply(name, [(str(key), str(value)) for key, value in json.loads(query)], DROPPED).body


def enter(folder: str) -> str:
    """Make the dropped files' folder the current one; the name of the file that the others belong to."""
    os.chdir(folder)
    names = sorted(path.name for path in Path().iterdir())
    for suffix in (".gguf", ".safetensors.index.json", ".safetensors", ".json"):
        found = [name for name in names if name.endswith(suffix)]
        if found:
            return found[0]
    return names[0] if names else ""
