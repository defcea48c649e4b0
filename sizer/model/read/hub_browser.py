"""The hub as the browser's own Python asks it: what `hub` offers, over the requests that a browser's worker may make.

The hub allows any page to read public repositories. There is no token, no cache but the browser's, and no thread.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import quote

from sizer.errors import GatedModel, HubUnreachable, InvalidConfig
from sizer.model.read.hub import LARGEST_RANGE_BYTES, MAX_CONFIG_BYTES, RepoInfo, too_large
from sizer.model.read.hub_errors import FileMissing, no_repo_name

ENDPOINT = "https://huggingface.co"
_FIRST_RANGE_BYTES = 256 * 2**10
"""Asked for at first; what a header has beyond it is asked for when it is read."""


def answered_in_time() -> AbstractContextManager[None]:
    """The browser bounds its own requests."""
    return nullcontext()


def is_offline(offline: bool = False) -> bool:
    """Whether the network is switched off by the caller; whether there is one, asking shows."""
    return offline


def repo_info(repo_id: str, revision: str | None = None) -> RepoInfo:
    """What the hub's API says of a repository. Raises UnknownModel, GatedModel, HubUnreachable."""
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    told = _object(_get(f"{ENDPOINT}/api/models/{_path(repo_id)}{at}?blobs=true", repo_id), repo_id)
    files = {str(item.get("rfilename")): item.get("size") for item in told.get("siblings") or ()}
    summary = told.get("safetensors") or {}
    parameters = {str(kind): count for kind, count in (summary.get("parameters") or {}).items() if _is_count(count)}
    return RepoInfo(
        repo_id=repo_id,
        commit=told.get("sha"),
        gated=bool(told.get("gated")),
        files={name: size if _is_count(size) else None for name, size in files.items()},
        parameters=parameters,
        total_params=summary.get("total") if _is_count(summary.get("total")) else None,
    )


def load_json(
    repo_id: str,
    filename: str,
    revision: str | None = None,
    *,
    offline: bool = False,
    limit_bytes: int = MAX_CONFIG_BYTES,
) -> dict[str, Any]:
    """A small JSON file of a repository. Raises FileMissing, GatedModel, HubUnreachable, InvalidConfig."""
    name = f"{repo_id}/{filename}"
    if offline:
        raise HubUnreachable(f"{name!r} is not stored here, and the network is switched off.")
    data = _get(_file(repo_id, filename, revision), name, (0, limit_bytes + 1))
    if len(data) > limit_bytes:
        raise too_large(name, len(data), limit_bytes)
    return _object(data, name)


class RemoteFile:
    """A file on the hub, read by ranges; `size_bytes` is what the API's list says."""

    def __init__(self, repo_id: str, filename: str, revision: str | None, size_bytes: int | None = None) -> None:
        if size_bytes is None:
            raise HubUnreachable(f"The hub does not say how large {filename!r} is.", "Download it and drop it here.")
        self.name = f"{repo_id}/{filename}"
        self.url = _file(repo_id, filename, revision)
        self.size_bytes = size_bytes
        self._ahead = _FIRST_RANGE_BYTES
        self._start, self._piece = 0, b""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the file ends. Sequential reads fetch ever larger pieces."""
        length = max(0, min(length, self.size_bytes - offset))
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._piece):
            wanted = min(max(length, self._ahead), self.size_bytes - offset)
            self._piece = _get(self.url, self.name, (offset, wanted))
            self._start, begin = offset, 0
            self._ahead = min(2 * self._ahead, LARGEST_RANGE_BYTES)
        return self._piece[begin : begin + length]


def _file(repo_id: str, filename: str, revision: str | None) -> str:
    return f"{ENDPOINT}/{_path(repo_id)}/resolve/{quote(revision or 'main', safe='')}/{quote(filename)}"


def _path(repo_id: str) -> str:
    if repo_id.count("/") != 1 or not all(repo_id.split("/")) or ".." in repo_id:
        raise no_repo_name(repo_id)
    return quote(repo_id)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InvalidConfig(f"{name!r} is no JSON.", "It must be a JSON object.") from None
    if not isinstance(found, dict):
        raise InvalidConfig(f"{name!r} is no JSON object.", "A config.json is one.")
    return found


def _get(url: str, name: str, piece: tuple[int, int] | None = None) -> bytes:
    """The bytes at an address, or `piece` (offset, length) of them: one request, which a worker may wait for."""
    from js import XMLHttpRequest

    request = XMLHttpRequest.new()
    request.open("GET", url, False)
    request.responseType = "arraybuffer"
    if piece is not None:
        request.setRequestHeader("Range", f"bytes={piece[0]}-{piece[0] + piece[1] - 1}")
    try:
        request.send()
    except Exception:  # the browser's NetworkError has no type of its own here
        raise HubUnreachable(f"the hub does not answer for {name!r}.", "Check the connection.") from None
    _check(int(request.status), name, ranged=piece is not None and piece[0] > 0)
    data: bytes = request.response.to_bytes()
    return data if piece is None else data[: piece[1]]


def _check(status: int, name: str, *, ranged: bool) -> None:
    """Nothing for an answer that can be used, else the hub's refusal as an error."""
    if status == 404:
        raise FileMissing(f"the hub has no {name!r}.", "Check the spelling.")
    if status in {401, 403}:
        raise GatedModel(f"{name!r} is gated, private or not there.", "The command line reads it with HF_TOKEN.")
    if status not in {200, 206} or (ranged and status != 206):
        raise HubUnreachable(f"the hub answers {status} for {name!r}.", "Try again later.")
