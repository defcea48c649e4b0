"""From a config.json to an Architecture: which family describes it, and the checks that every family shares.

A family is a callable `(Config) -> Parts`, in the file of its maker (`qwen`, `deepseek`, `google` …), under its
model_type in that file's `FAMILIES`:

    FAMILIES: dict[str, Family] = {
        "olmo": Decoder(mlp=UNBIASED, norms=(), final_norm=None),
        "olmo2": Decoder(Attention(qk_norm="width"), UNBIASED, POST_NORMS),
        "olmo_hybrid": olmo_hybrid,
    }

An architecture class that differs from its model_type's stands under its own name besides. Most families are records
of `sizer.model.shapes`: a `Decoder` (an attention rule and an MLP rule, one Block a layer, and the norms), stating
where they differ from Llama, or a `Wrapper` around one. The others are functions that make one `Block` a layer from
`sizer.model.blocks` and hand the list to `causal_lm` (embedding, layers, final norm, head). Imports run one way:
families, shapes, blocks, architecture. House rules:

* fields are read through `Config` (checked, with transformers' class defaults and aliases), never from the raw dict;
* tensor names are the checkpoint's, `{layer}` for the layer index; expert stacks are [experts, out, in];
* layers that do not differ are the same Block object, and so become one Tensor with several `layers`;
* `module` says what torch module owns the tensor: quantization schemes depend on it; buffers are never listed;
* a tied lm_head is left out, `Parts.tied` says so; layers that transformers does not build are `checkpoint_only`.

CONTRIBUTING.md lists what else a new family needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sizer.errors import InvalidConfig
from sizer.model.architecture import Architecture, Basis, Role
from sizer.model.blocks.core import NO_TOKENS, Parts
from sizer.model.config import Config
from sizer.model.registry import Row, describe, family, identify, known, parts_of, supported

__all__ = ["Row", "build", "describe", "family", "identify", "supported"]

# No published model comes near: more parameters than this is a damaged or hostile config.
MAX_PARAMS = 10**14

DTYPES = {
    "float32": "float32", "float": "float32", "fp32": "float32", "float16": "float16", "half": "float16",
    "fp16": "float16", "bfloat16": "bfloat16", "bf16": "bfloat16", "float64": "float64",
}  # fmt: skip

CONTEXT_FIELDS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx",
    "context_length", "max_context_length", "model_max_length", "max_target_positions",
)  # fmt: skip


def build(config: Mapping[str, Any], model_id: str, basis: Basis = Basis.CONFIG) -> Architecture:
    """The Architecture that a config.json describes.

    Raises UnsupportedArchitecture where no family knows it (nothing is guessed), InvalidConfig, naming the field,
    where it cannot be trusted: missing, negative, absurd or contradictory.
    """
    if not isinstance(config, Mapping):
        raise InvalidConfig(f"config is {config!r:.60}.", "It must be a JSON object.")
    row, architecture, notes = identify(config)
    whole = Config.of(config, row.model_type)
    parts = parts_of(row, whole)
    _check_shapes(parts)
    if _is_headless(row, architecture):
        parts, notes = _without_head(parts, whole), ()
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
        decodes=parts.decodes,
        passes=parts.passes,
        config=config,
    )
    if result.experts and result.active_experts == result.experts:
        note = "every expert counts as active: the config routes a token to all of them, or does not say to how many."
        result = replace(result, notes=(*result.notes, note))
    if result.checkpoint_params > MAX_PARAMS:
        raise _absurd(whole, result)
    return result


def _is_headless(row: Row, architecture: str) -> bool:
    """Whether the class is the stack that a causal class puts its head on (`MistralModel`): what embedders publish."""
    return architecture.endswith("Model") and row.architecture.endswith("ForCausalLM") and architecture not in known()


def _without_head(parts: Parts, config: Config) -> Parts:
    """The parts without the language-model head; attention both ways where the config says so (EmbeddingGemma)."""
    tensors = tuple(tensor for tensor in parts.tensors if tensor.role is not Role.LM_HEAD)
    bare = replace(parts, tensors=tensors, decodes=False, notes=(NO_TOKENS,))
    return bare.as_encoder() if config.flag("use_bidirectional_attention") else bare


def _check_shapes(parts: Parts) -> None:
    """InvalidConfig where sizes that are each in range contradict each other: a difference of them is below nought."""
    for tensor in parts.tensors:
        if min(tensor.shape, default=0) < 0:
            raise InvalidConfig(
                f"the config's sizes contradict each other: {tensor.name!r} would be {list(tensor.shape)}.",
                "A size that is subtracted or divided is too large.",
            )


def _absurd(config: Config, result: Architecture) -> InvalidConfig:
    """Names the field that makes the model too large: the whole number that sticks out most."""
    sizes = {
        name: value
        for name, value in config.fields.items()
        if isinstance(value, int) and any(value in tensor.shape for tensor in result.tensors)
    } or {"num_hidden_layers": result.num_layers}
    name = max(sizes, key=lambda field: sizes[field])
    return InvalidConfig(
        f"config field {name!r} is {sizes[name]!r:.80}: the model would have more than {MAX_PARAMS:.0e} parameters.",
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
    """The longest context that the file tells: on top, or in its text model, however deep that lies (an omni model's
    `thinker_config.text_config`)."""
    for name in CONTEXT_FIELDS:
        if config.first(name)[1] is not None:
            return config.size(name)
    field = _text_field(config.fields)
    return None if field is None else _context(config.sub(field))


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
                        f"config field {name!r} is {value!r:.80}.", f"It must be one of {', '.join(DTYPES)}."
                    )
                return known
    return "bfloat16" if _quantization(config) else "float32"


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for source in (config, _text(config)):
        for name in ("quantization_config", "compression_config"):
            value = source.get(name)
            if value:
                if not isinstance(value, Mapping):
                    raise InvalidConfig(f"config field {name!r} is {value!r:.80}.", "It must be an object.")
                return value
        value = source.get("quantization")  # MLX, which wrote no other name for long
        if isinstance(value, Mapping) and "bits" in value and "group_size" in value:
            return value
    return None
