"""Which of a folder's or a repository's files are the model, and their headers read together.

The folder may be local or on the hub: all that is needed is its file names and a way to open one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sizer.errors import UnknownModel, did_you_mean
from sizer.model.architecture import Architecture
from sizer.model.read.headers import ByteSource, Header
from sizer.model.read.headers_safetensors import SHARD_NAME, read_indexed, read_shards, sibling_shards
from sizer.model.stored import Stored

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

OpenFile = Callable[[str], ByteSource]
Read = tuple[Architecture, Stored]


def safetensors_set(names: Iterable[str]) -> str | list[str] | None:
    """The checkpoint among file names: its index, or its shards, or None where there is none or no single one.

    An index comes before `model.safetensors`, that before a numbered set, that before an only file.
    """
    top = {name for name in names if "/" not in name}
    if INDEX in top:
        return INDEX
    if SINGLE in top:
        return [SINGLE]
    files = {name for name in top if name.endswith(".safetensors")}
    sets = {tuple(sibling_shards(name)) for name in files if SHARD_NAME.fullmatch(name)}
    if len(sets) == 1:
        return list(sets.pop())
    return list(files) if len(files) == 1 else None


def gguf_sets(names: Iterable[str]) -> dict[str, list[str]]:
    """The GGUF models among file names, by the name of their first file; projectors (mmproj) are no models."""
    sets: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.endswith(".gguf") and "mmproj" not in name.lower() and "imatrix" not in name.lower():
            folder, _, file = name.rpartition("/")
            files = [f"{folder}/{part}" if folder else part for part in sibling_shards(file)]
            sets.setdefault(files[0], files)
    return sets


def choose_gguf(names: Iterable[str], wanted: str, model_id: str) -> list[str]:
    """The files of the GGUF model that `wanted` names (`Q4_K_M`, or a file's name; empty: the only one there is).

    Raises UnknownModel with the choices where it names none, or several.
    """
    sets = gguf_sets(names)
    if wanted in sets:
        return sets[wanted]
    found = {first: files for first, files in sets.items() if not wanted or _tag(first) == _folded(wanted)}
    if wanted and not found:
        word = re.compile(rf"(?<![0-9a-z]){re.escape(_folded(wanted))}(?![0-9a-z])")
        found = {first: files for first, files in sets.items() if word.search(_folded(first))}
    if len(found) == 1:
        return next(iter(found.values()))
    choices = sorted({_label(first) for first in found or sets})
    what = f"no GGUF file for {wanted!r}" if wanted and not found else f"{len(found)} GGUF files"
    example = f" Write {model_id}:{choices[0]}." if choices else ""
    near = f" {did_you_mean(wanted, choices)}" if wanted and not found else ""
    raise UnknownModel(f"{model_id!r} has {what}.{near}", f"There are {', '.join(choices[:40]) or 'none'}.{example}")


def _folded(text: str) -> str:
    return text.lower().replace("-", "_")


def _tag(name: str) -> str:
    """The quantization in a file's name, folded; empty where it has none."""
    from sizer.model.read.name_quantization import quantization_in

    return _folded(quantization_in(name.rsplit("/", 1)[-1]).precision or "")


def _label(name: str) -> str:
    return _tag(name).upper() or name


def read_gguf(files: Sequence[str], open_file: OpenFile, model_id: str) -> Read:
    """Architecture and bytes of a GGUF model, of one file or split over several."""
    from sizer.model.read.headers import open_shard
    from sizer.model.read.headers_gguf import parse, read_split
    from sizer.model.read.headers_gguf_model import gguf_model

    if len(files) > 1:
        return gguf_model(read_split(files, open_file, model_id), model_id)
    return gguf_model(parse(open_shard(open_file, files[0], model_id)), model_id)


def read_safetensors(
    files: str | Sequence[str],
    open_file: OpenFile,
    model_id: str,
    config: Mapping[str, Any] | None,
    workers: int = 1,
) -> Read:
    """Architecture and bytes of a checkpoint: `files` is its index, or its shards; `workers` read remote ones."""
    from sizer.model.read.headers import open_shard
    from sizer.model.read.headers_torch_model import torch_model

    header: Header
    if isinstance(files, str):
        header = read_indexed(open_shard(open_file, files, model_id), open_file, workers)
    else:
        header = read_shards(files, open_file, model_id, workers)
    return torch_model(header, model_id, config)
