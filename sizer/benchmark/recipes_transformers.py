"""How transformers loads each precision: the dtype and the quantization config. One row a precision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

_BITSANDBYTES: Mapping[str, Mapping[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "nf4-dq": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4-dq": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": True},
}
# Storage that a repository brings with it. The keys are those of its config.json's quantization_config.
_STORED: Mapping[str, Mapping[str, Any]] = {
    "gptq-int4": {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False},
    "gptq-int8": {"quant_method": "gptq", "bits": 8, "group_size": 128, "sym": True, "desc_act": False},
    "awq-int4": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "mxfp4": {"quant_method": "mxfp4"},
}
_GROUP_SUFFIX = re.compile(r"(gptq-int[48])-g(\d+)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The dtype of what is not quantized, and what quantizes the rest: bitsandbytes on load, or the stored config."""

    dtype: str
    bitsandbytes: Mapping[str, Any] = field(default_factory=dict)
    stored: Mapping[str, Any] = field(default_factory=dict)


def precisions() -> list[str]:
    """Every precision that the transformers backend can load."""
    return [*DTYPES, *_BITSANDBYTES, *_STORED]


def is_bitsandbytes(precision: str) -> bool:
    """Whether bitsandbytes quantizes to `precision` while loading."""
    return precision in _BITSANDBYTES


def recipe(precision: str, config: Mapping[str, Any]) -> Recipe:
    """How to load `precision` from a model whose config.json is `config` (may be empty if it is not known).

    An empty precision means: as the repository stores it. Raises UsageError for a precision that transformers does
    not run, and for one that contradicts the repository's own quantization.
    """
    own = _own_quantization(config)
    own_dtype = _own_dtype(config)
    if not precision:
        return Recipe(own_dtype, stored=own)
    if precision in DTYPES:
        if own:
            raise _contradiction(precision, own)
        return Recipe(DTYPES[precision])
    if precision in _BITSANDBYTES:
        if own and own.get("quant_method") != "bitsandbytes":
            raise _contradiction(precision, own)
        compute = own_dtype if own_dtype in ("float16", "bfloat16") else "bfloat16"
        settings = dict(_BITSANDBYTES[precision])
        if "load_in_4bit" in settings:
            settings["bnb_4bit_compute_dtype"] = compute
        if own.get("llm_int8_skip_modules"):
            settings["llm_int8_skip_modules"] = list(own["llm_int8_skip_modules"])
        return Recipe(compute, bitsandbytes=settings)
    return Recipe(own_dtype if own_dtype != "float32" else "float16", stored=own or _stored_settings(precision))


def _stored_settings(precision: str) -> Mapping[str, Any]:
    match = _GROUP_SUFFIX.fullmatch(precision)
    if match:
        return {**_STORED[match.group(1)], "group_size": int(match.group(2))}
    if precision not in _STORED:
        raise UsageError(
            f"The transformers backend cannot load {precision!r}.",
            did_you_mean(precision, precisions())
            or f"It loads {', '.join(precisions())}; a .gguf file runs llama.cpp.",
        )
    return _STORED[precision]


def _own_quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    text = config.get("text_config")
    own = config.get("quantization_config") or (text.get("quantization_config") if isinstance(text, Mapping) else None)
    return own if isinstance(own, Mapping) else {}


def _own_dtype(config: Mapping[str, Any]) -> str:
    text = config.get("text_config")
    for source in (config, text if isinstance(text, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            if source.get(key) in DTYPES.values():
                return str(source[key])
    return "bfloat16"


def _contradiction(precision: str, own: Mapping[str, Any]) -> UsageError:
    return UsageError(
        f"The repository is stored as {own.get('quant_method')!r}, so it cannot be loaded as {precision!r}.",
        "Leave --precision out to run it as it is, or name the repository of the original weights.",
    )
