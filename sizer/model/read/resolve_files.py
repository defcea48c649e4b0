"""A model from a path: a folder, a config.json, a .safetensors or a .gguf file (also one without its suffix)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sizer.errors import InvalidHeader, UnknownModel
from sizer.model.architecture import Architecture, Basis
from sizer.model.read.beside import SMALL_FILES, Load, foreign, quantized, refuse_adapter
from sizer.model.read.headers import FileSource
from sizer.model.read.headers_files import (
    INDEX,
    OpenFile,
    choose_gguf,
    gguf_sets,
    read_gguf,
    read_safetensors,
    safetensors_set,
)
from sizer.model.read.headers_safetensors import sibling_shards
from sizer.model.read.hub import read_json
from sizer.model.read.meta_device import describe
from sizer.model.stored import Stored

Found = tuple[Architecture, "Stored | None", tuple[str, ...]]


def from_path(path: Path, text: str) -> Found:
    """Architecture, stored bytes where a header tells them, and notes. `text` is what the user typed.

    Raises: UnknownModel, InvalidConfig, InvalidHeader, UnsupportedArchitecture.
    """
    try:
        return _from_folder(path, text) if path.is_dir() else _from_file(path, text)
    except OSError as error:
        raise UnknownModel(
            f"{text!r} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from None


def _from_folder(folder: Path, text: str) -> Found:
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    refuse_adapter(names, _loader(folder), text)
    weights = safetensors_set(names)
    config = _config(folder, names)
    if weights is not None:
        return (*read_safetensors(weights, _opener(folder), text, config), ())
    if gguf_sets(names):
        return (*read_gguf(choose_gguf(names, "", text), _opener(folder), text), ())
    if config is None:
        raise UnknownModel(
            f"{text!r} has no config.json, no safetensors checkpoint and no GGUF file.",
            foreign(names) or "Give one of its files.",
        )
    pickled = any(name.endswith((".bin", ".pt", ".pth")) for name in names)
    notes = ("its weights are pickled, which is never opened: sized by its config",) if pickled else ()
    return describe(config, text, Basis.CONFIG), None, notes


def _from_file(path: Path, text: str) -> Found:
    if not path.is_file():
        raise UnknownModel(f"{text!r} is neither a file nor a folder.", "Give a model's file or folder.")
    if path.name == INDEX or path.name.endswith(".safetensors.index.json"):
        return (*read_safetensors(path.name, _opener(path.parent), text, _config_beside(path)), ())
    if path.suffix == ".json":
        refuse_adapter([path.name], lambda _: read_json(path, text), text)
        return describe(_quantized(read_json(path, text), path), text, Basis.CONFIG), None, ()
    if path.suffix == ".safetensors":
        files = sibling_shards(path.name)
        index = len(files) > 1 and (path.parent / INDEX).is_file()
        return (*read_safetensors(INDEX if index else files, _opener(path.parent), text, _config_beside(path)), ())
    if path.suffix == ".gguf" or _begins_as_gguf(path):
        return (*read_gguf(sibling_shards(path.name), _opener(path.parent), text), ())
    raise UnknownModel(
        f"{text!r} is no config.json, .safetensors or .gguf file.",
        "Other files, pickled ones above all, are not opened.",
    )


def _config_beside(path: Path) -> Mapping[str, Any] | None:
    return _config(path.parent, _small_files(path.parent))


def _config(folder: Path, names: Collection[str]) -> Mapping[str, Any] | None:
    """The config of a folder, with the quantization that a file beside it tells."""
    load = _loader(folder)
    return quantized(load("config.json"), names, load) if "config.json" in names else None


def _quantized(config: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """A config by its path: what lies beside it counts where it has the usual name."""
    if path.name != "config.json":
        return config
    return quantized(config, _small_files(path.parent), _loader(path.parent))


def _small_files(folder: Path) -> list[str]:
    return [name for name in SMALL_FILES if (folder / name).is_file()]


def _loader(folder: Path) -> Load:
    return lambda name: read_json(folder / name, name)


def _begins_as_gguf(path: Path) -> bool:
    """Ollama keeps its GGUF files without a suffix."""
    return FileSource(path).read(0, 4) == b"GGUF"


def _opener(folder: Path) -> OpenFile:
    def open_file(name: str) -> FileSource:
        path = folder / name
        if path.exists() and not path.is_file():
            raise InvalidHeader(f"{name!r} is no file.", "Give the checkpoint's own file.")
        return FileSource(path)

    return open_file
