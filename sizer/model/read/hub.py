"""The hub: the only room that uses the network, and only through `huggingface_hub`.

What is asked of it: small JSON files (cached where the client keeps its cache), what the API says of a repository (file
sizes, the safetensors parameter summary, whether it is gated) and ranges of weight files. No weight file is downloaded
whole, nothing pickled is fetched, no code of a repository is run. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and
`HF_HUB_OFFLINE` are the client's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sizer.errors import HubUnreachable, InvalidConfig, ModelError
from sizer.model.read.hub_errors import may_pass, no_repo_name, retry_after_s, translate
from sizer.model.read.json_object import loads

# The largest published config.json files (with a list of every quantized module) have some 2 MB.
MAX_CONFIG_BYTES = 8 * 2**20
MAX_INDEX_BYTES = 25_000_000
TIMEOUT_S = 10.0
"""How long the hub may keep silent."""
ATTEMPTS = 3
RETRY_WAIT_S = 0.5
MAX_RETRY_WAIT_S = 5.0
_FIRST_RANGE_BYTES = 128 * 2**10
_LARGEST_RANGE_BYTES = 8 * 2**20

_Answer = TypeVar("_Answer")


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


def is_offline(offline: bool = False) -> bool:
    """Whether the network is switched off, by the caller or by `HF_HUB_OFFLINE`."""
    from huggingface_hub import constants

    return offline or bool(constants.HF_HUB_OFFLINE)


def repo_info(repo_id: str, revision: str | None = None) -> RepoInfo:
    """What the API says of a repository. It answers for gated ones too, without a token.

    Raises: UnknownModel, GatedModel, HubUnreachable.
    """
    from huggingface_hub import HfApi

    info = _ask(
        lambda: HfApi().model_info(repo_id, revision=revision, files_metadata=True, timeout=TIMEOUT_S),
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
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import get_hf_file_metadata

    name = f"{repo_id}/{filename}"
    cached = _or_refuse(lambda: try_to_load_from_cache(repo_id, filename, revision=revision), repo_id)
    try:
        if is_offline(offline):
            raise HubUnreachable(
                f"{name!r} is not in the cache, and the network is switched off.",
                "Run once without --offline and HF_HUB_OFFLINE.",
            )
        url = hf_hub_url(repo_id, filename, revision=revision)
        metadata = _ask(lambda: get_hf_file_metadata(url, timeout=TIMEOUT_S), repo_id, revision, filename)
    except HubUnreachable:
        if isinstance(cached, str):
            return read_json(Path(cached), name, limit_bytes)
        raise
    if metadata.size is not None and metadata.size > limit_bytes:
        raise too_large(name, metadata.size, limit_bytes)
    with _quiet():
        path = _ask(
            lambda: hf_hub_download(repo_id, filename, revision=revision, etag_timeout=TIMEOUT_S),
            repo_id,
            revision,
            filename,
            attempts=1,
        )
    return read_json(Path(path), name, limit_bytes)


def too_large(name: str, size_bytes: int, limit_bytes: int) -> InvalidConfig:
    """The error for a JSON file that nobody's config needs to be."""
    return InvalidConfig(f"{name!r} has {size_bytes} bytes; {limit_bytes} are allowed.", "It is no model's config.")


def read_json(path: Path, name: str, limit_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object from a file, its size checked before it is read; `InvalidConfig` for anything else."""
    size_bytes = path.stat().st_size
    if size_bytes > limit_bytes:
        raise too_large(name, size_bytes, limit_bytes)
    try:
        return loads(path.read_bytes())
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
            metadata = _ask(lambda: get_hf_file_metadata(self.url, timeout=TIMEOUT_S), repo_id, revision, filename)
            size_bytes = metadata.size
        if size_bytes is None:
            raise HubUnreachable(f"The hub does not say how large {self.name!r} is.", "Download the file and pass it.")
        self.size_bytes = size_bytes
        self.fetched_bytes = 0
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
            self._piece = _ask(lambda: self._fetch(offset, wanted), self.repo_id, self.revision, self.filename)
            self._start, begin = offset, 0
            self.fetched_bytes += len(self._piece)
            self._ahead = min(2 * self._ahead, _LARGEST_RANGE_BYTES)
        return self._piece[begin : begin + length]

    def _fetch(self, offset: int, length: int) -> bytes:
        """One range request; a server that ignores the range is read only from the start, and only so far."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        headers = {
            **build_hf_headers(),
            "Range": f"bytes={offset}-{offset + length - 1}",
            "Accept-Encoding": "identity",
        }
        session = get_session()
        if callable(getattr(session, "stream", None)):  # httpx, since huggingface_hub 1.0
            opened = session.stream("GET", self.url, headers=headers, timeout=TIMEOUT_S)
        else:
            opened = session.get(self.url, headers=headers, timeout=TIMEOUT_S, stream=True)
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


class _quiet:  # noqa: N801 - a context manager, named like one
    """Keeps the client's progress bar for a file of a few kilobytes off the terminal."""

    def __enter__(self) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

        self.restore = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
        if self.restore:
            disable_progress_bars()

    def __exit__(self, *_: object) -> None:
        from huggingface_hub.utils import enable_progress_bars

        if self.restore:
            enable_progress_bars()


def _or_refuse(call: Callable[[], _Answer], repo_id: str) -> _Answer:
    """A cache look-up; a name that can be no repository's is unknown, a broken cache is as good as none."""
    from huggingface_hub.errors import HFValidationError

    try:
        return call()
    except HFValidationError:
        raise no_repo_name(repo_id) from None


def _ask(
    call: Callable[[], _Answer],
    repo_id: str,
    revision: str | None,
    filename: str | None = None,
    *,
    attempts: int = ATTEMPTS,
) -> _Answer:
    """One question to the hub, asked again where the fault may pass; every other fault becomes its own error."""
    if is_offline():
        raise HubUnreachable(f"{repo_id!r} cannot be asked for: the network is switched off.", "Unset HF_HUB_OFFLINE.")
    for attempt in range(attempts - 1):
        try:
            return call()
        except ModelError:  # noqa: PERF203 - a request takes a million times longer
            raise
        except Exception as error:
            wait_s = max(RETRY_WAIT_S * 2**attempt, retry_after_s(error))
            if not may_pass(error) or wait_s > MAX_RETRY_WAIT_S:
                translate(error, repo_id, revision, filename, TIMEOUT_S)
            time.sleep(wait_s)
    try:
        return call()
    except ModelError:
        raise
    except Exception as error:
        translate(error, repo_id, revision, filename, TIMEOUT_S)
