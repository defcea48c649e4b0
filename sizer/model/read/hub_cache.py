"""Small files in the hub client's own cache: found, and kept in its layout. A broken cache is as good as none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sizer.model.read.hub_errors import no_repo_name


def path(repo_id: str, filename: str, revision: str | None) -> Path | None:
    """Where the cache holds a file of a revision; None where it does not, or cannot be looked into.

    Raises UnknownModel for text that can be no repository's name.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo_id, filename, revision=revision)
    except HFValidationError:
        raise no_repo_name(repo_id) from None
    except OSError:
        return None
    return Path(found) if isinstance(found, str) else None


def keep(repo_id: str, filename: str, revision: str | None, commit: str, data: bytes) -> None:
    """Keep a file as the client would: under its commit, which the revision's name then points to.

    A cache that is full, read-only or no folder keeps nothing; the answer is there all the same.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model")
    place, reference = folder / "snapshots" / commit / filename, folder / "refs" / (revision or "main")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        reference.parent.mkdir(parents=True, exist_ok=True)
        written = place.with_name(f"{place.name}.part")
        written.write_bytes(data)
        written.replace(place)
        if revision != commit:
            reference.write_text(commit, encoding="utf-8")
