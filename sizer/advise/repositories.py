"""What a recipe names: a hub repository, a published copy in another format, a file; nothing that is not there."""

from __future__ import annotations

import re

from sizer.answer.records import Estimate
from sizer.engine.engines import find_engine
from sizer.errors import UnknownPrecision
from sizer.frozen import dataclass
from sizer.model.architecture import Basis
from sizer.model.read import catalogue
from sizer.model.read.name_quantization import quantization_in
from sizer.model.read.published import TAG_LIBRARY, gguf_source, quantized_copy, tag_repository
from sizer.precision.configured import configured_precision

LOCAL_FILES = ("config.json", ".safetensors", ".safetensors.index.json")
"""Ends of the files that a model may be named by instead of the folder that they lie in."""


@dataclass(frozen=True, slots=True)
class Named:
    """What to load, and a comment where it must be made first."""

    name: str
    comment: str = ""


def is_local(estimate: Estimate) -> bool:
    """Whether the model was named by a folder of this machine or a file in it, so that nothing is downloaded."""
    name, basis = estimate.architecture.model_id, estimate.architecture.basis
    return basis is Basis.CONFIG or (basis is Basis.HEADER and name.endswith(".safetensors"))


def file_name(estimate: Estimate) -> str:
    """The model's own name, fit for a file, a tag or a Modelfile: what could end a word or a line is replaced."""
    base = hub_id(estimate).rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", base).lstrip("-.") or "model"


def gguf_file(estimate: Estimate) -> str:
    """The usual file name of the model at this GGUF type: `Qwen3-8B-Q4_K_M.gguf`."""
    return f"{file_name(estimate)}-{estimate.precision.upper()}.gguf"


def hub_id(estimate: Estimate) -> str:
    """The repository of the model itself: that of a library's tag or of a copy in another format is its original's.

    A name that starts with a dash is written as a path, not taken as a flag; what lies on this machine is its folder.
    """
    name = estimate.architecture.model_id
    if is_local(estimate):
        return name.rpartition("/")[0] or "." if name.endswith(LOCAL_FILES) else name
    told = tag_repository(name) if ":" in name or name.startswith(TAG_LIBRARY) else None
    name = told or gguf_source(name) or _original(name)
    return f"./{name}" if name.startswith("-") else name


def _original(name: str) -> str:
    """The model that a catalogued name is a tag of or a copy in fewer bits, from which other formats are made; itself
    where it is neither, or where nobody knows."""
    copied = name.startswith(TAG_LIBRARY) or quantization_in(name).precision or "gguf" in name.lower()
    entry = catalogue.find(name) if copied else None
    if entry is None or not (entry.copy or name.startswith(TAG_LIBRARY)):
        return name
    return entry.alias or entry.model_id


def is_own_format(estimate: Estimate) -> bool:
    """Whether the model that was named is stored in the estimate's precision already."""
    if estimate.architecture.quantization is not None:
        try:
            return configured_precision(estimate.architecture) == estimate.precision
        except UnknownPrecision:
            return True
    return quantization_in(estimate.architecture.model_id).precision == estimate.precision


def quantized(estimate: Estimate) -> Named:
    """The repository of the model in the estimate's precision, for an engine that loads checkpoints as published.

    The model itself where it is stored so, else the copy that is published, else a folder that has to be made.
    """
    if is_own_format(estimate):
        name = estimate.architecture.model_id
        return Named(f"./{name}" if name.startswith("-") else name)
    copy = quantized_copy(hub_id(estimate), estimate.precision, find_engine(estimate.engine).runtime)
    if copy is not None:
        return Named(copy)
    folder = f"./{file_name(estimate)}-{estimate.precision}"
    missing = f"# no copy of {hub_id(estimate)!r} in {estimate.precision} is known"
    return Named(folder, f"{missing}: {folder} has to be made\n")
