"""Which family describes a config: the rows of `data/families.csv`, by model_type and by architecture class.

Shapes and families reach other families through `describe` alone, so that only the file asked for is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sizer.errors import InvalidConfig, UnsupportedArchitecture, did_you_mean
from sizer.frozen import NamedTuple
from sizer.model.config import Config

if TYPE_CHECKING:
    from sizer.model.blocks.core import Parts
    from sizer.model.shapes.family import Family

# A class of this name holds an encoder that its model_type's causal class lacks.
ENCODER_DECODER = "ForConditionalGeneration"


class Row(NamedTuple):
    """One row of `data/families.csv`: which file of `sizer/model/families` describes a class, and whose code runs it.

    `code` is `transformers`, or `repository` where the class ships its own code beside the weights; `per_layer` is
    `yes` where the family reads `per_layer_config`.
    """

    model_type: str
    architecture: str
    module: str
    code: str
    per_layer: str


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, Row], dict[str, Row]]:
    """The registry by model_type and by architecture class (the first row of a class is the class's own)."""
    types: dict[str, Row] = {}
    classes: dict[str, Row] = {}
    for row in supported():
        types.setdefault(row.model_type, row)
        classes.setdefault(row.architecture, row)
    return types, classes


@lru_cache(maxsize=1)
def supported() -> tuple[Row, ...]:
    """Every family of the registry."""
    from sizer.tables import read_tuples

    return tuple(map(Row._make, read_tuples("families.csv", Row._fields)))


PART_OF_DIFFUSERS = "It is a part of a pipeline of diffusers: sizer sizes models that read and write text."


def known() -> frozenset[str]:
    """The architecture classes of the registry."""
    return frozenset(_rows()[1])


def identify(config: Mapping[str, Any]) -> tuple[Row, str, tuple[str, ...]]:
    """The family's row, the architecture class to report, and notes, from `model_type` and `architectures`.

    A pair that a row holds is that row's. As in transformers, `model_type` decides where both are known apart; a class
    that belongs elsewhere is noted. Raises InvalidConfig where neither is given, UnsupportedArchitecture where neither
    is known.
    """
    model_type, architecture = config.get("model_type"), _architecture_name(config)
    if model_type is not None and not isinstance(model_type, str):
        raise InvalidConfig(f"config field 'model_type' is {model_type!r:.80}.", "It must be a string.")
    if not model_type and not architecture:
        hint = "One must name the model." if "_class_name" not in config else PART_OF_DIFFUSERS
        raise InvalidConfig("config fields 'model_type' and 'architectures' are both missing.", hint)
    types, classes = _rows()
    by_type, by_class = types.get(model_type or ""), classes.get(architecture or "")
    pair = next((row for row in supported() if (row.model_type, row.architecture) == (model_type, architecture)), None)
    if pair is not None:
        return pair, pair.architecture, ()
    # A class that ships its own code beside the weights is what its repository runs, whatever the model_type.
    if by_class and (by_type is None or by_class.code == "repository"):
        why = "is not known" if by_type is None else "has no code for this class"
        same = not model_type or by_class.model_type == model_type
        notes = () if same else (f"model_type {model_type!r} {why}; described by its class {architecture}.",)
        return by_class, architecture or by_class.architecture, notes
    if by_type is None:
        raise _unsupported(model_type, architecture, (*types, *classes))
    if architecture is None:
        return by_type, by_type.architecture, ()
    if by_class:
        note = f"architectures names {architecture}, model_type is {model_type!r}: model_type decides."
        return by_type, by_type.architecture, (note,)
    if architecture.endswith(ENCODER_DECODER) and not by_type.architecture.endswith(ENCODER_DECODER):
        raise _unsupported(model_type, architecture, (*types, *classes))
    return by_type, architecture, (f"class {architecture} is described as {by_type.architecture}, its model_type's.",)


def _architecture_name(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    if named is None or named == []:
        return None
    if not isinstance(named, (list, tuple)) or not isinstance(named[0], str):
        raise InvalidConfig(f"config field 'architectures' is {named!r:.80}.", "It must be a list of class names.")
    return named[0]


def _unsupported(model_type: str | None, architecture: str | None, known: tuple[str, ...]) -> UnsupportedArchitecture:
    name = architecture or model_type or ""
    return UnsupportedArchitecture(
        f"no family describes the architecture {name!r:.80} (model_type {model_type!r:.80}).",
        (did_you_mean(name, known) + " Give the .safetensors or .gguf file itself, whose header lists every tensor, or "
         "install sizer-llm[bench] so that transformers can build it on the meta device.").strip(),
    )  # fmt: skip


def family(row: Row) -> Family:
    """The family of a registry row: that of its class where one stands under the class's name, else its model_type's.

    Imports the row's module, and no other.
    """
    from importlib import import_module

    families: Mapping[str, Family] = import_module(f"sizer.model.families.{row.module}").FAMILIES
    return families.get(row.architecture) or families[row.model_type]


def describe(config: Config, model_type: str) -> Parts:
    """The parts of a config (often a sub-config) of a known model_type; UnsupportedArchitecture if it is unknown."""
    row = _rows()[0].get(model_type)
    if row is None:
        raise _unsupported(model_type, None, tuple(_rows()[0]))
    return parts_of(row, config)


def parts_of(row: Row, config: Config) -> Parts:
    """The parts that a row's family makes of a config."""
    if config.fields.get("per_layer_config") and row.per_layer != "yes":
        raise UnsupportedArchitecture(
            f"config field {config.path + 'per_layer_config'!r} overrides single layers, which no family describes.",
            "Install sizer-llm[bench] so that transformers can build it on the meta device.",
        )
    return family(row)(config)
