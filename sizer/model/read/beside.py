"""What lies beside or instead of a config.json: a quantization in a file of its own, an adapter, another's format.

modelopt, AutoGPTQ and AutoAWQ wrote what they quantized beside a config that does not tell it; a LoRA has no model of
its own at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sizer.errors import UnknownModel
from sizer.printable import shown


class AdapterAlone(UnknownModel):
    """An adapter, which has no model of its own: its base is known, or asked for."""


Load = Callable[[str], Mapping[str, Any]]
"""Reads a small JSON file that lies there."""

ADAPTER = "adapter_config.json"
FOREIGN = {
    "model_index.json": "It is a pipeline of diffusers: sizer sizes models that read and write text.",
    "params.json": "Its maker's params.json is not read: name the repository that has a config.json, or a size as 8B.",
}
"""What files tell of a folder that has no config.json."""
_ADAPTER_PARTS = (".lora_A.", ".lora_B.", ".lora_embedding_")


def quantized(config: Mapping[str, Any], names: Collection[str], load: Load) -> Mapping[str, Any]:
    """The config with the quantization that a file beside it tells, where it tells none itself.

    Raises InvalidConfig for a file that is no JSON object.
    """
    if any(config.get(name) for name in ("quantization_config", "quantization", "compression_config")):
        return config
    for name, read in _QUANTIZED_BESIDE.items():
        settings = read(load(name)) if name in names else None
        if settings is not None:
            return {**config, "quantization_config": settings}
    return config


def _modelopt(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    settings = found.get("quantization")
    return {"quant_method": "modelopt", **settings} if isinstance(settings, Mapping) and _algorithm(settings) else None


def _algorithm(settings: Mapping[str, Any]) -> bool:
    """Whether modelopt quantized weights: it also writes files that tell of the cache alone."""
    return bool(settings.get("quant_algo"))


def _gptq(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return {"quant_method": "gptq", **found} if "bits" in found else None


def _awq(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "w_bit" not in found:
        return None
    usual = 128  # AutoAWQ's own, where the file says none
    return {"quant_method": "awq", "bits": found["w_bit"], "group_size": found.get("q_group_size", usual)}


_QUANTIZED_BESIDE = {"hf_quant_config.json": _modelopt, "quantize_config.json": _gptq, "quant_config.json": _awq}


SMALL_FILES = ("config.json", *_QUANTIZED_BESIDE)
"""The files that a config is made of."""


def refuse_adapter(names: Collection[str], load: Load, text: str) -> None:
    """Raises UnknownModel for an adapter, with the model that it adapts. A folder with a config.json is none."""
    if ADAPTER not in names or "config.json" in names:
        return
    base = load(ADAPTER).get("base_model_name_or_path")
    raise _adapter(text, base if isinstance(base, str) and base.strip() else None)


def refuse_adapter_tensors(tensors: Iterable[str], text: str) -> None:
    """Raises UnknownModel where the tensors of a file without a config are an adapter's."""
    if any(part in name for name in tensors for part in _ADAPTER_PARTS):
        raise _adapter(text, None)


def _adapter(text: str, base: str | None) -> AdapterAlone:
    more = "merged it takes nothing more, beside the model its own file's size."
    if base is None:
        return AdapterAlone(f"{text!r} is an adapter (LoRA), no model of its own.", f"Name the model it adapts: {more}")
    return AdapterAlone(
        f"{text!r} is an adapter (LoRA) of {shown(base)}, no model of its own.",
        f"Try `sizer estimate {base}`: {more}",
    )


def foreign(names: Collection[str]) -> str:
    """What to do about a folder without a config.json, by the files that it has; empty where they tell nothing."""
    return next((hint for name, hint in FOREIGN.items() if name in names), "")
