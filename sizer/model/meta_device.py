"""A config that no family describes, built by transformers on the meta device: shapes without memory, no code of a
repository run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sizer.errors import UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, Module, Tensor

_MODULES = {"Linear": Module.LINEAR, "Embedding": Module.EMBEDDING, "Conv1D": Module.CONV1D}
_ROUTED = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "experts_per_token")


def describe(config: Mapping[str, Any], model_id: str, basis: Basis) -> Architecture:
    """The architecture of a config: by its family, else on the meta device where torch and transformers are installed.

    Raises: InvalidConfig; UnsupportedArchitecture where neither knows it.
    """
    from sizer.model.families import build

    try:
        return build(config, model_id, basis)
    except UnsupportedArchitecture as error:
        built = on_meta_device(config, model_id)
        if built is None:
            raise error from None
        return built


def on_meta_device(config: Mapping[str, Any], model_id: str) -> Architecture | None:
    """The inventory of what transformers builds for the config; None where it is not installed or does not know it."""
    from importlib.util import find_spec

    if not (find_spec("torch") and find_spec("transformers")):
        return None
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        return None
    try:
        model = _build(config)
    except Exception as error:
        raise UnsupportedArchitecture(
            f"no family describes {config.get('model_type')!r}, and transformers cannot build it: {error!s:.200}.",
            "Give the .safetensors or .gguf file itself, whose header lists every tensor.",
        ) from None
    return None if model is None else _inventory(model, config, model_id)


def _build(config: Mapping[str, Any]) -> Any:
    """The causal-LM class of the model_type, or None where there is none."""
    import torch
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    fields = {name: value for name, value in config.items() if name not in ("auto_map", "quantization_config")}
    known = CONFIG_MAPPING[config["model_type"]].from_dict(fields)
    if type(known) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(known, trust_remote_code=False)


def _inventory(model: Any, config: Mapping[str, Any], model_id: str) -> Architecture:
    from sizer.model.headers import HeaderTensor
    from sizer.model.headers_torch_model import inventory

    classes = {name: type(module).__name__ for name, module in model.named_modules()}
    tensors = [
        HeaderTensor(name, "BF16", tuple(parameter.shape), 2 * parameter.numel())
        for name, parameter in model.named_parameters()
    ]
    text = config.get("text_config")
    sources = [config, text] if isinstance(text, Mapping) else [config]
    routed = next((source[name] for source in sources for name in _ROUTED if isinstance(source.get(name), int)), None)
    found = inventory(tensors, model_id, config, ("built by transformers on the meta device",))
    context = next((source[field] for source in sources if (field := "max_position_embeddings") in source), None)
    return replace(
        found,
        basis=Basis.META_DEVICE,
        architecture=type(model).__name__,
        tensors=tuple(_with_module(tensor, classes, routed) for tensor in found.tensors),
        active_experts=routed if found.experts else None,
        max_context_tokens=context if isinstance(context, int) and context > 0 else None,
        notes=tuple(note for note in found.notes if routed is None or "active" not in note),
    )


def _with_module(tensor: Tensor, classes: Mapping[str, str], routed: int | None) -> Tensor:
    """The tensor with the class of its own torch module, and the experts that the config routes to."""
    owner = tensor.name.replace("{layer}", str(tensor.layers[0]) if tensor.layers else "").rsplit(".", 1)[0]
    module = _MODULES.get(classes.get(owner, ""), tensor.module)
    active = tensor.active_experts
    return replace(tensor, module=module, active_experts=active if active is None or routed is None else routed)
