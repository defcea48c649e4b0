"""The hub: the only room that uses the network, and only through `huggingface_hub`.

What is asked of it: small JSON files (cached where the client keeps its cache), what the API says of a repository (file
sizes, the safetensors parameter summary, whether it is gated) and ranges of weight files. No weight file is downloaded
whole, nothing pickled is fetched, no code of a repository is run. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and
`HF_HUB_OFFLINE` are the client's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

from sizer.errors import HubUnreachable, InvalidConfig
from sizer.frozen import dataclass
from sizer.model.read import hub_ask, hub_cache
from sizer.model.read.hub_ask import answered_in_time, ask, is_offline
from sizer.model.read.json_object import loads

# The largest published config.json files (with a list of every quantized module) have some 2 MB.
MAX_CONFIG_BYTES = 8 * 2**20
_FIRST_RANGE_BYTES = 128 * 2**10
LARGEST_RANGE_BYTES = 8 * 2**20


__all__ = ["RemoteFile", "RepoInfo", "answered_in_time", "is_offline", "load_json", "read_json", "repo_info"]


@dataclass(frozen=True)
class RepoInfo:
    """What the API says of a repository: `files` by name with their bytes (None where it does not say), `parameters`
    by stored dtype from its safetensors summary, and the `commit` that the answer describes."""

    repo_id: str
    commit: str | None
    gated: bool
    files: Mapping[str, int | None] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    total_params: int | None = None


def repo_info(repo_id: str, revision: str | None = None) -> RepoInfo:
    """What the API says of a repository. It answers for gated ones too, without a token.

    Raises: UnknownModel, GatedModel, HubUnreachable.
    """
    from huggingface_hub import HfApi

    info = ask(
        lambda: HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=hub_ask.TIMEOUT_S),
        repo_id,
        revision,
    )
    files: dict[str, int | None] = {}
    for sibling in info.siblings or ():
        size = sibling.size if sibling.size is not None else (sibling.lfs or {}).get("size")
        files[str(sibling.rfilename)] = size if isinstance(size, int) and size >= 0 else None
    summary = info.safetensors
    parameters = dict(summary.parameters) if summary else {}
    counts = [count for count in parameters.values() if isinstance(count, int) and count >= 0]
    total = summary.total if summary and isinstance(summary.total, int) and summary.total > 0 else None
    return RepoInfo(
        repo_id=repo_id,
        commit=info.sha,
        gated=bool(info.gated),
        files=files,
        parameters=parameters if len(counts) == len(parameters) else {},
        total_params=total,
    )


def load_json(
    repo_id: str,
    filename: str,
    revision: str | None = None,
    *,
    offline: bool = False,
    limit_bytes: int = MAX_CONFIG_BYTES,
) -> dict[str, Any]:
    """A small JSON file of a repository: the newest where the hub answers, else the cached copy.

    Raises: FileMissing, UnknownModel, GatedModel, HubUnreachable, InvalidConfig (malformed, or above `limit_bytes`).
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import get_hf_file_metadata

    name = f"{repo_id}/{filename}"
    cached = hub_cache.path(repo_id, filename, revision)
    try:
        if is_offline(offline):
            raise HubUnreachable(
                f"{name!r} is not in the cache, and the network is switched off.",
                "Run once without --offline and HF_HUB_OFFLINE.",
            )
        url = hf_hub_url(repo_id, filename, revision=revision)
        metadata = ask(lambda: get_hf_file_metadata(url, timeout=hub_ask.TIMEOUT_S), repo_id, revision, filename)
    except HubUnreachable:
        if cached is not None:
            return read_json(cached, name, limit_bytes)
        raise
    if metadata.size is not None and metadata.size > limit_bytes:
        raise too_large(name, metadata.size, limit_bytes)
    if cached is not None and metadata.commit_hash and metadata.commit_hash == cached.parent.name:
        with suppress(InvalidConfig):  # a cached file that is junk is fetched anew
            return read_json(cached, name, limit_bytes)
    data = _downloaded(repo_id, filename, revision, limit_bytes)
    fields = _parsed(data, name)
    if metadata.commit_hash:
        hub_cache.keep(repo_id, filename, revision, metadata.commit_hash, data)
    return fields


def _downloaded(repo_id: str, filename: str, revision: str | None, limit_bytes: int) -> bytes:
    """A whole small file. Raises InvalidConfig for one above the limit."""
    # One byte more than is allowed tells a server that sends more than it said.
    remote = RemoteFile(repo_id, filename, revision, limit_bytes + 1)
    data = ask(lambda: remote.fetch(0, limit_bytes + 1), repo_id, revision, filename)
    if len(data) > limit_bytes:
        raise too_large(f"{repo_id}/{filename}", len(data), limit_bytes)
    return data


def too_large(name: str, size_bytes: int, limit_bytes: int) -> InvalidConfig:
    """The error for a JSON file that nobody's config needs to be."""
    return InvalidConfig(f"{name!r} has {size_bytes} bytes; {limit_bytes} are allowed.", "It is no model's config.")


def read_json(path: Path, name: str, limit_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file, its size checked before it is read; `InvalidConfig` for anything else."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > limit_bytes:
            raise too_large(name, size_bytes, limit_bytes)
        data = path.read_bytes()
    except OSError as error:
        raise InvalidConfig(
            f"{str(path)!r} cannot be read: {error.strerror or error} (errno {error.errno}).", "Look at the file."
        ) from None
    return _parsed(data, name)


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        return loads(data)
    except ValueError as error:
        raise InvalidConfig(f"{name!r} cannot be used: {error}.", "It must be a plain JSON object.") from None


class RemoteFile:
    """A file on the hub, read by ranges: never more than what is asked for and a bounded read-ahead.

    `size_bytes` comes from the API's list where it is known, else from a HEAD request.
    """

    def __init__(self, repo_id: str, filename: str, revision: str | None, size_bytes: int | None = None) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import get_hf_file_metadata

        self.repo_id, self.filename, self.revision = repo_id, filename, revision
        self.url = hf_hub_url(repo_id, filename, revision=revision)
        if size_bytes is None:
            timeout_s = hub_ask.TIMEOUT_S
            metadata = ask(lambda: get_hf_file_metadata(self.url, timeout=timeout_s), repo_id, revision, filename)
            size_bytes = metadata.size
        if size_bytes is None:
            raise HubUnreachable(f"The hub does not say how large {self.name!r} is.", "Download the file and pass it.")
        self.size_bytes = size_bytes
        self._ahead = _FIRST_RANGE_BYTES
        self._start, self._piece = 0, b""

    @property
    def name(self) -> str:
        """`org/name/file`."""
        return f"{self.repo_id}/{self.filename}"

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the file ends. Sequential reads fetch ever larger pieces."""
        length = max(0, min(length, self.size_bytes - offset))
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._piece):
            wanted = min(max(length, self._ahead), self.size_bytes - offset)
            self._piece = ask(lambda: self.fetch(offset, wanted), self.repo_id, self.revision, self.filename)
            self._start, begin = offset, 0
            self._ahead = min(2 * self._ahead, LARGEST_RANGE_BYTES)
        return self._piece[begin : begin + length]

    def fetch(self, offset: int, length: int) -> bytes:
        """One range request; a server that ignores the range is read only from the start, and only so far."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        headers = {
            **build_hf_headers(),
            "Range": f"bytes={offset}-{offset + length - 1}",
            "Accept-Encoding": "identity",
        }
        session = get_session()
        if callable(getattr(session, "stream", None)):  # httpx, since huggingface_hub 1.0
            opened = session.stream("GET", self.url, headers=headers, timeout=hub_ask.TIMEOUT_S)
        else:
            opened = session.get(self.url, headers=headers, timeout=hub_ask.TIMEOUT_S, stream=True)
        with opened as response:
            hf_raise_for_status(response)
            if response.status_code != 206 and offset:
                raise HubUnreachable(
                    f"The server of {self.name!r} does not serve ranges.", "Download the file and pass its path."
                )
            chunks = response.iter_bytes(65536) if hasattr(response, "iter_bytes") else response.iter_content(65536)
            data = bytearray()
            for chunk in chunks:
                data += chunk
                if len(data) >= length:
                    break
        return bytes(data[:length])
