"""From a config.json to an Architecture: which family describes it, and the checks that every family shares.

How a family is added: a row in `data/families.csv` (model_type, architecture class, module) and an entry in the
`FAMILIES` of that module, `sizer/model/families/<module>.py`:

    FAMILIES = {
        "llama": Decoder(),
        "olmo2": Decoder(attention=Attention(qk_norm="width"), mlp=Mlp(bias=False), norms=POST_NORMS),
        "gpt2": gpt2,
    }

A family is a callable `(Config) -> Parts`. Most are `decoder.Decoder` records: an attention rule and an MLP rule
(`rules`: one Block a layer) and the norms, stating where they differ from Llama. The others are functions that make
one `Block` a layer from `sizer.model.blocks` and hand the list to `decoder.causal_lm` (embedding, layers, final norm,
head). Only the module of the family asked for is imported. House rules:

* fields are read through `Config` (checked, with transformers' class defaults and aliases), never from the raw dict;
* tensor names are the checkpoint's, `{layer}` for the layer index; expert stacks are [experts, out, in];
* layers that do not differ are the same Block object, and so become one Tensor with several `layers`;
* `module` says what torch module owns the tensor: quantization schemes depend on it; buffers are never listed;
* a tied lm_head is left out, `Parts.tied` says so; layers that transformers does not build are `checkpoint_only`.

A wrapper (vision, audio) describes its text part with `describe(config.sub("text_config"), model_type)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.errors import InvalidConfig, UnsupportedArchitecture, did_you_mean
from sizer.model.architecture import Architecture, Basis
from sizer.model.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from sizer.model.blocks.core import Parts

# No published model comes near: more parameters than this is a damaged or hostile config.
MAX_PARAMS = 10**14

DTYPES = {
    "float32": "float32", "float": "float32", "fp32": "float32", "float16": "float16", "half": "float16",
    "fp16": "float16", "bfloat16": "bfloat16", "bf16": "bfloat16", "float64": "float64",
}  # fmt: skip

# A class of this name holds an encoder that its model_type's causal class lacks.
ENCODER_DECODER = "ForConditionalGeneration"

# Families that read `per_layer_config`.
HETEROGENEOUS = ("dots3_note", "dots3_note_text", "gemma4_text", "gemma4_unified_text", "step3p5")

CONTEXT_FIELDS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx",
    "context_length", "model_max_length", "max_target_positions",
)  # fmt: skip


class Row(NamedTuple):
    """One row of `data/families.csv`."""

    model_type: str
    architecture: str
    module: str


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, Row], dict[str, Row]]:
    """The registry by model_type and by architecture class (the first row of a class is the class's own)."""
    from sizer.tables import read_rows

    types: dict[str, Row] = {}
    classes: dict[str, Row] = {}
    for cells in read_rows("families.csv"):
        row = Row(cells["model_type"], cells["architecture"], cells["module"])
        types.setdefault(row.model_type, row)
        classes.setdefault(row.architecture, row)
    return types, classes


def supported() -> tuple[Row, ...]:
    """Every family of the registry."""
    from sizer.tables import read_rows

    return tuple(
        Row(cells["model_type"], cells["architecture"], cells["module"]) for cells in read_rows("families.csv")
    )


def identify(config: Mapping[str, Any]) -> tuple[Row, str, tuple[str, ...]]:
    """The family's row, the architecture class to report, and notes, from `model_type` and `architectures`.

    As in transformers, `model_type` decides where both are known; a class that belongs elsewhere is noted. Raises
    InvalidConfig where neither is given, UnsupportedArchitecture where neither is known.
    """
    model_type, architecture = config.get("model_type"), _architecture_name(config)
    if model_type is not None and not isinstance(model_type, str):
        raise InvalidConfig(f"config field 'model_type' is {model_type!r}.", "It must be a string.")
    if not model_type and not architecture:
        raise InvalidConfig(
            "config fields 'model_type' and 'architectures' are both missing.", "One must name the model."
        )
    types, classes = _rows()
    by_type, by_class = types.get(model_type or ""), classes.get(architecture or "")
    # A class that ships its own code beside the weights is what its repository runs, whatever the model_type.
    if by_class and (by_type is None or by_class.module.startswith("remote")):
        why = "is not known" if by_type is None else "has no code for this class"
        same = not model_type or by_class.model_type == model_type
        notes = () if same else (f"model_type {model_type!r} {why}; described by its class {architecture}.",)
        return by_class, architecture or by_class.architecture, notes
    if by_type is None:
        raise _unsupported(model_type, architecture, (*types, *classes))
    if by_class and by_class.model_type == by_type.model_type:
        return by_class, by_class.architecture, ()
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
        raise InvalidConfig(f"config field 'architectures' is {named!r}.", "It must be a list of class names.")
    return named[0]


def _unsupported(model_type: str | None, architecture: str | None, known: tuple[str, ...]) -> UnsupportedArchitecture:
    name = architecture or model_type or ""
    return UnsupportedArchitecture(
        f"no family describes the architecture {name!r} (model_type {model_type!r}).",
        (did_you_mean(name, known) + " Give the .safetensors or .gguf file itself, whose header lists every tensor, or "
         "install sizer[bench] so that transformers can build it on the meta device.").strip(),
    )  # fmt: skip


def family(row: Row) -> Callable[[Config], Parts]:
    """The family of a registry row; imports its module."""
    from importlib import import_module

    families: Mapping[str, Callable[[Config], Parts]] = import_module(f"sizer.model.families.{row.module}").FAMILIES
    return families[row.model_type]


def describe(config: Config, model_type: str) -> Parts:
    """The parts of a config (often a sub-config) of a known model_type; UnsupportedArchitecture if it is unknown."""
    row = _rows()[0].get(model_type)
    if row is None:
        raise _unsupported(model_type, None, tuple(_rows()[0]))
    return _parts(row, config)


def _parts(row: Row, config: Config) -> Parts:
    if config.fields.get("per_layer_config") and row.model_type not in HETEROGENEOUS:
        raise UnsupportedArchitecture(
            f"config field {config.path + 'per_layer_config'!r} overrides single layers, which no family describes.",
            "Install sizer[bench] so that transformers can build it on the meta device.",
        )
    return family(row)(config)


def build(config: Mapping[str, Any], model_id: str, basis: Basis = Basis.CONFIG) -> Architecture:
    """The Architecture that a config.json describes.

    Raises UnsupportedArchitecture where no family knows it (nothing is guessed), InvalidConfig, naming the field,
    where it cannot be trusted: missing, negative, absurd or contradictory.
    """
    if not isinstance(config, Mapping):
        raise InvalidConfig(f"config is {config!r:.60}.", "It must be a JSON object.")
    row, architecture, notes = identify(config)
    whole = Config.of(config, row.model_type)
    parts = _parts(row, whole)
    result = Architecture(
        model_id=model_id,
        architecture=architecture,
        model_type=row.model_type,
        basis=basis,
        tensors=parts.tensors,
        layers=parts.layers,
        hidden_size=parts.hidden_size,
        vocab_size=parts.vocab_size,
        max_context_tokens=parts.max_context_tokens or _context(whole),
        tied_embeddings=parts.tied,
        dtype=_dtype(config),
        experts=max((tensor.experts or 0 for tensor in parts.tensors), default=0) or None,
        active_experts=max((tensor.active_experts or 0 for tensor in parts.tensors), default=0) or None,
        quantization=_quantization(config),
        notes=notes + parts.notes,
        config=config,
    )
    if result.experts and result.active_experts == result.experts:
        note = "every expert counts as active: the config routes a token to all of them, or does not say to how many."
        result = replace(result, notes=(*result.notes, note))
    if result.checkpoint_params > MAX_PARAMS:
        raise _absurd(whole, result)
    return result


def _absurd(config: Config, result: Architecture) -> InvalidConfig:
    """Names the field that makes the model too large: the whole number that sticks out most."""
    sizes = {
        name: value
        for name, value in config.fields.items()
        if isinstance(value, int) and any(value in tensor.shape for tensor in result.tensors)
    } or {"num_hidden_layers": result.num_layers}
    name = max(sizes, key=lambda field: sizes[field])
    return InvalidConfig(
        f"config field {name!r} is {sizes[name]!r}: the model would have {result.checkpoint_params:.1e} parameters.",
        "No published model is near that; the config is damaged.",
    )


def _text_field(config: Mapping[str, Any]) -> str | None:
    """The field of a wrapper's file that holds its text model."""
    names = ("text_config", "llm_config", "language_config", "decoder", "thinker_config")
    return next((name for name in names if isinstance(config.get(name), Mapping)), None)


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    name = _text_field(config)
    return {} if name is None else config[name]


def _context(config: Config) -> int | None:
    name = _text_field(config.fields)
    for source in (config, None if name is None else config.sub(name)):
        if source is None:
            continue
        for name in CONTEXT_FIELDS:
            if source.first(name)[1] is not None:
                return source.size(name)
    return None


def _dtype(config: Mapping[str, Any]) -> str:
    """The checkpoint's float type. Where the file names none: float32, as transformers takes it, but bfloat16 for a
    quantized checkpoint, whose unquantized tensors are 16-bit (gpt-oss)."""
    for source in (config, _text(config)):
        for name in ("dtype", "torch_dtype"):
            value = source.get(name)
            if isinstance(value, str) and value not in ("auto", ""):
                known = DTYPES.get(value.removeprefix("torch."))
                if known is None:
                    raise InvalidConfig(
                        f"config field {name!r} is {value!r}.", f"It must be one of {', '.join(DTYPES)}."
                    )
                return known
    return "bfloat16" if _quantization(config) else "float32"


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for source in (config, _text(config)):
        for name in ("quantization_config", "compression_config"):
            value = source.get(name)
            if value:
                if not isinstance(value, Mapping):
                    raise InvalidConfig(f"config field {name!r} is {value!r}.", "It must be an object.")
                return value
    return None
