"""Since which version an engine has code for a model, or loads a kind of weights: what an older one lacks.

Rows of `data/engine_model_releases.csv` are releases that were read, each with the one read before it; those of
`data/engine_release_names.csv` the classes or types that were new there, those of `data/engine_precision_releases.csv`
the kinds of weights. Between the two releases they came. Of what no row names nothing is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sizer.engine.model_code import ModelCode
from sizer.engine.options import sets_aside
from sizer.engine.releases import version_numbers
from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, MixerKind
from sizer.precision.gguf_tensors import gguf_archs
from sizer.precision.names import precision_of
from sizer.tables import read_rows, read_tuples

FALLS_BACK = {"ForCausalLM": ("TransformersForCausalLM", "TransformersModel")}
FALLS_BACK_MIXTURES = {"ForCausalLM": ("TransformersMoEForCausalLM",)}
"""By the end of a class: the classes of vLLM and SGLang that run it through transformers (models/registry.py)."""
REPOSITORYS_CODE = frozenset({"trust-remote-code=True"})
"""The flag by which code that a repository brings stands in for an engine's own."""
ATTENDS = frozenset({MixerKind.FULL, MixerKind.SLIDING})
"""Layers that they run so: attention alone, no states and no latents."""


class First(NamedTuple):
    """The first release read that has something, and the last read before it that has not (empty: none was read).

    A flag of `unless` (`model-impl=transformers`) lets the engine do without.
    """

    version: str
    after: str
    unless: frozenset[str] = frozenset()

    def lacks(self, asked: tuple[int, ...]) -> bool:
        """Whether a version has it not for certain: `0.9` stands for every 0.9.x."""
        return not self.has(asked) and bool(self.after) and asked <= version_numbers(self.after)

    @property
    def words(self) -> str:
        """When it came."""
        return f"it came after {self.after}, with {self.version} at the latest"

    def has(self, asked: tuple[int, ...]) -> bool:
        """Whether a version has it for certain."""
        return version_numbers(self.version)[: len(asked)] <= asked


@cache
def _models() -> Mapping[str, Mapping[str, First]]:
    """By engine and class or type, in lower case: of two spellings the earlier."""
    releases = {
        (row["engine"], row["version"]): First(row["version"], row["after"], frozenset(row["unless"].split()))
        for row in read_rows("engine_model_releases.csv")
    }
    found: dict[str, dict[str, First]] = {}
    for engine, version, name in read_tuples("engine_release_names.csv", ("engine", "version", "name")):
        found.setdefault(engine, {}).setdefault(name.lower(), releases[engine, version])
    return found


@cache
def _kinds() -> Mapping[tuple[str, str], First]:
    """By engine and kind of weights."""
    rows = read_rows("engine_precision_releases.csv")
    return {(row["engine"], row["kind"]): First(row["version"], row["after"]) for row in rows}


def code_at(architecture: Architecture, engine: str, version: str, given: Mapping[str, Any]) -> ModelCode:
    """Whether a version of an engine has the code for a model that later ones have. `given` are the engine's own flags.

    It has it where no version is named and where nobody read what came when; through transformers it may.
    """
    asked = version_numbers(version)
    if not asked:
        return ModelCode()
    told, first = _told(architecture), _first(architecture, engine, given)
    if first is None:
        return ModelCode(lacking=_handed_to_none(architecture, engine, version, given))
    if first.has(asked):
        return ModelCode()
    if not first.lacks(asked):
        since = first.words if first.after else f"the oldest list read is that of {first.version}"
        return ModelCode(unknown=f"Whether {engine} {version} has code for {told} is not known: {since}.")
    if not _falls_back(architecture, engine, asked):
        return ModelCode(lacking=f"{engine} {version} has no code for {told}: {first.words}.")
    own = f"{engine} {version} has no code of its own for {told} ({first.words})"
    return ModelCode(unknown=f"{own}: it runs it through transformers, where the installed one has it.")


def _handed_to_none(architecture: Architecture, engine: str, version: str, given: Mapping[str, Any]) -> str:
    """Why a version cannot run a decoder whose class no release of the engine has: those before it handed them to
    transformers. Empty for other classes: their names are not always the config's."""
    known, told = _models().get(engine, {}), _told(architecture)
    classes = next((names for end, names in FALLS_BACK.items() if told.endswith(end)), ())
    first = _earliest(known, classes)
    if first is None or told.lower() in known or sets_aside(first.unless, given):
        return ""
    if not first.lacks(version_numbers(version)):
        return ""
    return f"{engine} {version} has no code for {told}, nor for running it through transformers: {first.words}."


def too_old_for(precision: str, engine: str, version: str) -> str:
    """Why a version of an engine does not load a precision that later ones do, in one sentence; empty where it does or
    nobody read that. Raises UnknownPrecision."""
    asked = version_numbers(version)
    first = _kinds().get((engine, precision_of(precision).kind)) if asked else None
    if first is None or not first.lacks(asked):
        return ""
    return f"{engine} {version} does not load {precision} weights: {first.words}."


def _told(architecture: Architecture) -> str:
    return architecture.architecture or architecture.model_type


def _first(architecture: Architecture, engine: str, given: Mapping[str, Any]) -> First | None:
    """When an engine's lists first name a model's class or type; None where none does, where a flag sets them aside,
    and where the repository brings code of its own for transformers."""
    known = _models().get(engine)
    if known is None:
        return None
    classes = architecture.config.get("architectures")
    listed = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    first = _earliest(known, (architecture.architecture, *listed, architecture.model_type, _gguf_name(architecture)))
    if first is None or sets_aside(first.unless, given):
        return None
    return None if first.unless & REPOSITORYS_CODE and "auto_map" in architecture.config else first


def _gguf_name(architecture: Architecture) -> str:
    """How the lists of engines that load GGUF files alone name a model: `gguf:` and the architecture of its file, of
    which letters and digits count (`gptoss`, `gpt-oss`)."""
    arch = gguf_archs().get(architecture.model_type)
    return "gguf:" + "".join(filter(str.isalnum, arch[0].lower())) if arch is not None else ""


def _earliest(known: Mapping[str, First], names: Iterable[str]) -> First | None:
    found = [known[name.lower()] for name in names if name and name.lower() in known]
    return min(found, key=lambda first: version_numbers(first.version), default=None)


def _falls_back(architecture: Architecture, engine: str, asked: tuple[int, ...]) -> bool:
    """Whether a version hands a plain decoder that it has no class for to transformers: no states, no latent cache."""
    if any(mixer.kind not in ATTENDS for mixer in architecture.mixer_counts):
        return False
    ends = FALLS_BACK_MIXTURES if architecture.experts is not None else FALLS_BACK
    names = next((names for end, names in ends.items() if _told(architecture).endswith(end)), ())
    first = _earliest(_models()[engine], names)
    return first is not None and first.has(asked)
