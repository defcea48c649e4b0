"""Whether the hub answers, asked once before the libraries that load a model ask it for every file and retry each."""

from __future__ import annotations

import logging
from pathlib import Path

from sizer.errors import HubUnreachable, ModelError


def hub_answers(model: str, revision: str | None = None) -> bool:
    """Whether the hub can be asked for a model's files: False where the network is down, switched off or too slow.

    A folder needs no hub. What else may be wrong with the repository is told by who loads it.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import get_hf_file_metadata

    from sizer.model.read.hub_ask import TIMEOUT_S, answered_in_time, ask

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # the client tells its own retries
    if Path(model).exists():
        return True
    try:
        url = hf_hub_url(model, "config.json", revision=revision)
        with answered_in_time():
            ask(lambda: get_hf_file_metadata(url, timeout=TIMEOUT_S), model, revision, "config.json")
    except HubUnreachable:
        return False
    except (ModelError, ValueError):
        return True
    return True
