"""The oracle of the parameter tests: transformers' own classes on the meta device, as parameter counts by name."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

from sizer.model.architecture import Tensor

EXPERTS = re.compile(r"(.*experts)\.(gate_proj|up_proj|gate_up_proj|down_proj|w[123])(\.weight)?")


@contextmanager
def quiet():
    """transformers without its warnings and without the hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.logging.set_verbosity_error()
        yield transformers


def config_of(model_type: str, fields: Mapping[str, Any] | None = None) -> Any:
    """transformers' config object of a model_type from the fields of a config.json."""
    with quiet():
        from transformers import CONFIG_MAPPING

        return CONFIG_MAPPING[model_type].from_dict(json.loads(json.dumps(fields or {})))


def as_json(config: Any, class_name: str) -> dict[str, Any]:
    """The config.json that transformers would save for a config object."""
    fields = json.loads(json.dumps(config.to_dict(), default=str))
    return {**fields, "architectures": [class_name]}


def meta_model(config: Any, class_name: str) -> Any:
    """A class of transformers built on the meta device, its weights tied as its config says."""
    with quiet() as transformers:
        import torch

        with torch.device("meta"):
            model = getattr(transformers, class_name)._from_config(config)
        model.tie_weights()
        return model


def fused(counts: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """Parameter counts by name, the gate and up matrices of an expert stack as one: checkpoints part them."""
    merged: dict[str, int] = {}
    for name, shape in counts:
        match = EXPERTS.fullmatch(name)
        stack = match is not None and len(shape) == 3
        key = f"{match[1]}.{'down' if match[2] in ('down_proj', 'w2') else 'gate_up'}" if match and stack else name
        merged[key] = merged.get(key, 0) + prod(shape)
    return merged


def oracle(config: Any, class_name: str) -> dict[str, int]:
    """What transformers counts, by parameter name."""
    model = meta_model(config, class_name)
    return fused((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())


def inventory(tensors: Iterable[Tensor]) -> dict[str, int]:
    """What a family lists, by parameter name; a name listed twice is an error."""
    names = [
        (tensor.name.replace("{layer}", str(layer)), tensor.shape)
        for tensor in tensors
        if not tensor.checkpoint_only
        for layer in (tensor.layers or (-1,))
    ]
    assert len(dict(names)) == len(names), "a parameter is listed twice"
    return fused(names)
