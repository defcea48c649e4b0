"""A config that no family describes, built by transformers on the meta device: shapes without memory, no code of a
repository run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sizer.errors import InvalidConfig, UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, Module, Role, Tensor
from sizer.model.config import MAX_LAYERS
from sizer.regex import pattern

# DeepSeek-V3's 256 experts in 58 layers would be some 60,000 modules, were they not stacked.
MAX_MODULES = 300_000
_LAYERS = pattern(r"layers?$|depth|blocks?$")
_MODULES = {"Linear": Module.LINEAR, "Embedding": Module.EMBEDDING, "Conv1D": Module.CONV1D}
_ROUTED = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "experts_per_token")


def describe(config: Mapping[str, Any], model_id: str, basis: Basis) -> Architecture:
    """The architecture of a config: by its family, else on the meta device where torch and transformers are installed.

    Raises: InvalidConfig; UnsupportedArchitecture where neither knows it.
    """
    from sizer.model.families import build

    try:
        found = build(config, model_id, basis)
    except UnsupportedArchitecture as error:
        built = on_meta_device(config, model_id)
        if built is None:
            raise error from None
        return built
    if basis is Basis.CATALOGUE:
        return found
    from sizer.model.read.provenance import default_notes

    return replace(found, notes=(*found.notes, *default_notes(config, found)))


def on_meta_device(config: Mapping[str, Any], model_id: str) -> Architecture | None:
    """The inventory of what transformers builds for the config; None where it is not installed or does not know it."""
    from importlib.util import find_spec

    if not (find_spec("torch") and find_spec("transformers")):
        return None
    from transformers import CONFIG_MAPPING

    from sizer.model.families import MAX_PARAMS

    if config.get("model_type") not in CONFIG_MAPPING:
        return None
    _check_counts(config)
    try:
        with _quiet():
            model = _build(config)
    except Exception as error:
        why = " ".join(str(error).split())
        raise UnsupportedArchitecture(
            f"no family describes {config['model_type']!r}, and transformers cannot build it: {why:.200}.",
            "Give the .safetensors or .gguf file itself, whose header lists every tensor.",
        ) from None
    if model is None:
        return None
    params = sum(parameter.numel() for parameter in model.parameters())
    if not 0 < params <= MAX_PARAMS:
        raise InvalidConfig(f"the config asks for {params:.1e} parameters.", "No published model is near that.")
    return _inventory(model, config, model_id)


def _check_counts(config: Mapping[str, Any], path: str = "") -> None:
    """InvalidConfig, naming the field, for a count of layers that no model has: before anything is built."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            _check_counts(value, f"{path}{name}.")
        elif isinstance(value, (int, float)) and value > MAX_LAYERS and _LAYERS.search(str(name)):
            raise InvalidConfig(
                f"config field {path + str(name)!r:.100} is {value!r:.40}.",
                f"No model has more than {MAX_LAYERS} layers.",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' remarks on a config stay off stderr: what matters of them is an error."""
    import logging
    import warnings

    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _bounded() -> Iterator[None]:
    """Ends a build that registers more modules than any model has, which would take memory until it is killed."""
    from torch.nn.modules.module import register_module_module_registration_hook

    count = 0

    def registered(_module: Any, _name: str, _submodule: Any) -> None:
        nonlocal count
        count += 1
        if count > MAX_MODULES:
            raise ValueError(f"it has more than {MAX_MODULES} modules")

    handle = register_module_module_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()


def _build(config: Mapping[str, Any]) -> Any:
    """The generating class of the model_type (causal, image-text or sequence-to-sequence), or None where none is."""
    import torch
    from transformers import (
        CONFIG_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForSeq2SeqLM,
    )

    fields = {name: value for name, value in config.items() if name not in ("auto_map", "quantization_config")}
    known = CONFIG_MAPPING[config["model_type"]].from_dict(fields)
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM):
        if type(known) in auto._model_mapping:
            with torch.device("meta"), _bounded():
                return auto.from_config(known, trust_remote_code=False)
    return None


def _inventory(model: Any, config: Mapping[str, Any], model_id: str) -> Architecture:
    """The architecture of a model that transformers built without weights."""
    from sizer.model.families import DTYPES
    from sizer.model.read.headers import HeaderTensor
    from sizer.model.read.headers_torch_model import ALL_ACTIVE, inventory

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
    vocab = _first_size(sources, "vocab_size")
    stated = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return replace(
        found,
        basis=Basis.META_DEVICE,
        dtype=DTYPES.get(stated, "float32"),  # as transformers: where a file names none
        vocab_size=found.vocab_size or vocab,
        hidden_size=found.hidden_size or _first_size(sources, "hidden_size", "d_model", "n_embd"),
        architecture=type(model).__name__,
        tensors=tuple(_with_module(tensor, classes, routed, vocab) for tensor in found.tensors),
        active_experts=routed if found.experts else None,
        max_context_tokens=context if isinstance(context, int) and context > 0 else None,
        notes=tuple(note for note in found.notes if routed is None or note != ALL_ACTIVE),
    )


def _first_size(sources: list[Mapping[str, Any]], *names: str) -> int:
    """The first whole number under any of the names, else 0."""
    found = (source.get(name) for source in sources for name in names)
    return next((size for size in found if isinstance(size, int) and size > 0), 0)


def _with_module(tensor: Tensor, classes: Mapping[str, str], routed: int | None, vocab: int) -> Tensor:
    """The tensor with the class of its own torch module, and the experts that the config routes to."""
    owner = tensor.name.replace("{layer}", str(tensor.layers[0]) if tensor.layers else "").rsplit(".", 1)[0]
    module = _MODULES.get(classes.get(owner, ""), tensor.module)
    role = tensor.role
    if role is Role.OTHER and module is Module.EMBEDDING and tensor.shape[0] == vocab:
        role = Role.EMBEDDING
    active = tensor.active_experts
    active = active if active is None or routed is None else routed
    return replace(tensor, role=role, module=module, active_experts=active)
