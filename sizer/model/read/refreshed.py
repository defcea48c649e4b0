"""What `sizer models update` read from the hub: configs newer than the catalogue's, and models that it has not.

One JSON document a model in the user's data folder. What is kept was built by its family and met to the parameters that
the hub publishes; a damaged document is left aside, so that the catalogue's own answers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sizer.frozen import dataclass
from sizer.user_folder import user_folder

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A model's config as the hub published it at `commit`, read on the day `read_on`."""

    model_id: str
    commit: str
    read_on: str
    total_params: int | None
    config: Mapping[str, Any]

    @property
    def source(self) -> str:
        """Where the config comes from."""
        return f"https://huggingface.co/{self.model_id} at {self.commit[:12]}, read {self.read_on}"


def folder() -> str:
    """Where refreshed configs are kept: in the user's data folder."""
    return os.path.join(user_folder(), "catalogue")


def load(model_id: str) -> Refreshed | None:
    """The refreshed config of a model; None where there is none, or none that can be read."""
    if model_id not in names():
        return None
    try:
        document = json.loads(_path(model_id).read_bytes())
        if document["schema_version"] != SCHEMA_VERSION or document["id"] != model_id:
            return None
        config, total = document["config"], document["total_params"]
        if not isinstance(config, dict) or not (total is None or isinstance(total, int)):
            return None
        return Refreshed(model_id, str(document["commit"]), str(document["read_on"]), total, config)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """The models that were refreshed."""
    try:
        kept = [name.removesuffix(".json") for name in os.listdir(folder()) if name.endswith(".json")]
    except OSError:
        return frozenset()
    return frozenset(name.replace("--", "/", 1) for name in kept)


def save(found: Refreshed) -> None:
    """Keep a refreshed config, whole or not at all. Raises OSError."""
    path = _path(found.model_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "schema_version": SCHEMA_VERSION,
        "id": found.model_id,
        "commit": found.commit,
        "read_on": found.read_on,
        "total_params": found.total_params,
        "config": found.config,
    }
    written = path.with_name(f"{path.name}.part")
    written.write_text(json.dumps(document), encoding="utf-8")
    written.replace(path)
    names.cache_clear()


def forget(model_id: str) -> None:
    """Drop a refreshed config: the catalogue says the same."""
    if model_id in names():
        _path(model_id).unlink(missing_ok=True)
        names.cache_clear()


def _path(model_id: str) -> Path:
    from pathlib import Path

    return Path(folder()) / f"{model_id.replace('/', '--')}.json"
