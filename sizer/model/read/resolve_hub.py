"""A model from the hub: its config, the headers of its quantized or unknown weights, or one of its GGUF files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from sizer.errors import GatedModel, HubUnreachable, UnknownModel, UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read.beside import ADAPTER, SMALL_FILES, foreign, quantized, refuse_adapter
from sizer.model.read.headers import ByteSource
from sizer.model.read.headers_files import (
    OpenFile,
    choose_gguf,
    gguf_sets,
    read_gguf,
    read_safetensors,
    safetensors_set,
)
from sizer.model.read.hub_errors import FileMissing
from sizer.model.read.meta_device import describe
from sizer.model.stored import Stored

if sys.platform == "emscripten":  # Python in a browser: other requests, and no threads
    from sizer.model.read import hub_browser as hub

    PARALLEL_REQUESTS = 1
else:
    from sizer.model.read import hub

    # The largest checkpoints have 163 shards: one after the other they would take a minute.
    PARALLEL_REQUESTS = 8

Found = tuple[Architecture, "Stored | None", tuple[str, ...]]


def from_hub(name: str, revision: str | None = None, *, offline: bool = False) -> Found:
    """The model of `org/name`, `org/repo:Q4_K_M` or `org/repo/file.gguf`.

    Offline, the client's cache answers. Raises: UnknownModel, GatedModel, HubUnreachable, InvalidConfig,
    InvalidHeader, UnsupportedArchitecture.
    """
    with hub.answered_in_time():
        return _from_hub(name, revision, offline=offline)


def _from_hub(name: str, revision: str | None, *, offline: bool) -> Found:
    """A repository by its config, its GGUF file or its weights' headers; a gated one by what the hub's summary
    tells."""
    repo_id, wanted = split_name(name)
    if wanted == "config.json":
        wanted = ""
    if hub.is_offline(offline):
        return _from_cache(repo_id, revision)
    info = _info(repo_id, revision)
    if wanted or (info and "config.json" not in info.files and gguf_sets(info.files)):
        return _from_gguf(repo_id, wanted, revision, info)
    if info and "config.json" not in info.files:
        refuse_adapter(info.files, lambda file: hub.load_json(repo_id, file, revision), repo_id)
        return _from_weights(repo_id, revision, info, None)
    try:
        config = hub.load_json(repo_id, "config.json", revision)
    except GatedModel:
        if info is None or info.total_params is None:
            raise
        return _from_summary(info)
    beside = info.files if info else ()
    whole = quantized(config, beside, lambda file: hub.load_json(repo_id, file, revision))
    return _from_config(repo_id, revision, info, whole)


def _from_cache(repo_id: str, revision: str | None) -> Found:
    """The config that the client's cache keeps, with the quantization beside it. Raises HubUnreachable without one."""

    def load(file: str) -> dict[str, Any]:
        return hub.load_json(repo_id, file, revision, offline=True)

    def kept(files: Iterable[str]) -> Iterator[str]:
        for file in files:
            with suppress(HubUnreachable):
                load(file)
                yield file

    beside = list(kept((*SMALL_FILES, ADAPTER)))
    refuse_adapter(beside, load, repo_id)
    config = quantized(load("config.json"), beside, load)
    return describe(config, repo_id, Basis.HUB), None, ("from the cache, offline",)


def split_name(name: str) -> tuple[str, str]:
    """The repository, and the file or quantization in it that a name asks for (empty: none)."""
    repo_id, _, wanted = name.partition(":")
    parts = repo_id.split("/")
    if not wanted and len(parts) > 2:
        return "/".join(parts[:2]), "/".join(parts[2:])
    return repo_id, wanted


def _info(repo_id: str, revision: str | None) -> hub.RepoInfo | None:
    """What the API says; None where an endpoint has files and no API (some mirrors)."""
    try:
        return hub.repo_info(repo_id, revision)
    except FileMissing:
        return None


def _from_config(repo_id: str, revision: str | None, info: hub.RepoInfo | None, config: Mapping[str, Any]) -> Found:
    """A config's family; where the weights are quantized, or no family knows them, their headers."""
    weights = info is not None and safetensors_set(info.files) is not None
    try:
        architecture = build(config, repo_id, Basis.HUB)
    except UnsupportedArchitecture:
        if info is None or not weights:
            return describe(config, repo_id, Basis.HUB), None, ()
        return _from_weights(repo_id, revision, info, config)
    if architecture.quantization and info is not None and weights:
        return _from_weights(repo_id, revision, info, config)
    return architecture, None, _compared(architecture, info)


def _compared(architecture: Architecture, info: hub.RepoInfo | None) -> tuple[str, ...]:
    """A note where the API counts other parameters than the family."""
    total = info.total_params if info else None
    if (
        total is None
        or architecture.quantization
        or total in (architecture.total_params, architecture.checkpoint_params)
    ):
        return ()
    return (
        f"the hub counts {total:,} parameters in the files, the config's family {architecture.checkpoint_params:,}",
    )


def _from_weights(repo_id: str, revision: str | None, info: hub.RepoInfo, config: Mapping[str, Any] | None) -> Found:
    """The headers of the safetensors files, by ranges."""
    files = safetensors_set(info.files)
    if files is None:
        pickled = any(name.endswith((".bin", ".pt", ".pth")) for name in info.files)
        raise UnknownModel(
            f"{repo_id!r} has no config.json, no safetensors checkpoint and no GGUF file"
            + (": its weights are pickled, which is never opened." if pickled else "."),
            foreign(info.files) or "Name the base model instead.",
        )
    opener = _opener(repo_id, revision, info)
    return (*read_safetensors(files, opener, repo_id, config, workers=PARALLEL_REQUESTS), ())


def _from_gguf(repo_id: str, wanted: str, revision: str | None, info: hub.RepoInfo | None) -> Found:
    if info is None:
        raise HubUnreachable(f"The endpoint does not list the files of {repo_id!r}.", "Download the file and pass it.")
    if wanted.endswith(".safetensors"):
        return (*read_safetensors([wanted], _opener(repo_id, revision, info), repo_id, None), ())
    files = choose_gguf(info.files, wanted, repo_id)
    return (*read_gguf(files, _opener(repo_id, revision, info), f"{repo_id}:{wanted}" if wanted else repo_id), ())


def _from_summary(info: hub.RepoInfo) -> Found:
    """A gated repository: its parameters are public, its config is not."""
    from sizer.model.read.name_only import lump
    from sizer.model.read.names import parse_name

    total = info.total_params or 0
    dtypes = ", ".join(f"{count:,} {dtype}" for dtype, count in sorted(info.parameters.items()))
    note = (
        f"gated: the hub tells its {total:,} parameters ({dtypes}) and no config; layers, experts and KV cache are"
        " unknown. Ask for access and set HF_TOKEN to read it"
    )
    return lump(info.repo_id, total, None, parse_name(info.repo_id), Basis.HUB), None, (note,)


def _opener(repo_id: str, revision: str | None, info: hub.RepoInfo) -> OpenFile:
    """Opens a file of the repository, or raises FileNotFoundError where the API does not list it."""

    def open_file(name: str) -> ByteSource:
        if name not in info.files:
            raise FileNotFoundError(name)
        return hub.RemoteFile(repo_id, name, revision, info.files[name])

    return open_file
