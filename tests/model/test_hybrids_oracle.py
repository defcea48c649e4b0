"""Hybrids and recurrent models against transformers: parameters by name, and the cache of a real forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hybridconfigs import CLASSES, DRAWS
from metamodels import as_json, config_of, inventory, oracle, quiet
from oracles import default_counts

from sizer.model.architecture import Architecture
from sizer.model.families import build

DATA = Path(__file__).parent.parent / "data" / "hybrids"
DRAWN = 3
TOKENS = 9
STATES_ONLY = ("mamba", "falcon_mamba", "mamba2", "rwkv", "xlstm")

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize(("model_type", "architecture"), sorted(default_counts().keys() & CLASSES.items()))
def test_saved_default_config_counts_to_the_parameter(model_type: str, architecture: str) -> None:
    """The class's default config, as transformers saves it, has the parameters that transformers counts."""
    params = default_counts()[model_type, architecture]
    fields = as_json(config_of(model_type), CLASSES[model_type])
    assert build(fields, model_type).total_params == params


@pytest.mark.parametrize("seed", range(DRAWN))
@pytest.mark.parametrize("model_type", DRAWS)
def test_drawn_config_lists_every_parameter(model_type: str, seed: int) -> None:
    """A config with unusual sizes, flags and layers lists the parameters of the meta device, name by name.

    It holds for the file as people write it and for the file as transformers saves it.
    """
    written = DRAWS[model_type](Random(f"{model_type} {seed}"))
    config = config_of(model_type, written)
    expected = oracle(config, CLASSES[model_type])
    shapes = {**written, "model_type": model_type, "architectures": [CLASSES[model_type]]}
    assert inventory(build(shapes, model_type).tensors) == expected
    assert inventory(build(as_json(config, CLASSES[model_type]), model_type).tensors) == expected


def cached(model: Any, output: Any) -> Iterator[tuple[str, int]]:
    """Elements of what a forward pass left behind, as (`kv` or `state`, elements)."""
    cache = next(
        (output[name] for name in ("past_key_values", "cache_params", "state") if output.get(name) is not None), None
    )
    if isinstance(cache, list):
        yield from (("state", tensor.numel()) for tensor in cache)
    elif hasattr(cache, "rnn_state"):
        yield from (("state", tensor.numel()) for states in cache.rnn_state.values() for tensor in states)
    for layer in getattr(cache, "layers", []):
        for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})):
            yield from (("state", tensor.numel()) for tensor in states.values() if tensor is not None)
        if getattr(layer, "keys", None) is not None:
            yield "kv", layer.keys.numel() + layer.values.numel()
    yield from (("state", tensor.numel()) for tensor in getattr(cache, "linear_cache", []) if len(tensor))
    for module in model.modules():
        if getattr(module, "conv1d_state", None) is not None:
            yield "state", module.conv1d_state.numel() + module.rg_lru.recurrent_states.numel()


def runnable(model_type: str) -> tuple[Any, Architecture]:
    """The first drawn config that transformers can run: one with attention, unless the family has none."""
    for seed in range(20):
        fields = DRAWS[model_type](Random(f"cache {model_type} {seed}"))
        if fields.get("weight_mode") == "fused":  # transformers 5.23 cannot initialize such an xLSTM
            continue
        config = config_of(model_type, fields)
        architecture = build(as_json(config, CLASSES[model_type]), model_type)
        mixers = [mixer for layer in architecture.layers for mixer in layer.mixers]
        if model_type in STATES_ONLY or any(mixer.kv_elements_per_token for mixer in mixers):
            return config, architecture
    raise AssertionError(f"no drawn config of {model_type} has attention")


@pytest.mark.parametrize("model_type", DRAWS)
def test_cache_is_what_a_forward_pass_leaves(model_type: str) -> None:
    """The states and the KV cache of a sequence are as large as transformers' own cache after a forward pass."""
    import torch

    config, architecture = runnable(model_type)
    with quiet() as transformers, torch.no_grad():
        model = getattr(transformers, CLASSES[model_type])(config).eval()
        output = model(torch.arange(1, TOKENS + 1)[None], use_cache=True)
    sizes = list(cached(model, output))
    mixers = [mixer for layer in architecture.layers for mixer in layer.mixers]
    assert sum(mixer.state_elements for mixer in mixers) == sum(size for kind, size in sizes if kind == "state")
    if model_type != "recurrent_gemma":  # it hands its KV cache to no caller
        kept = sum(mixer.kv_elements_per_token * mixer.cached_tokens(TOKENS) for mixer in mixers)
        assert kept == sum(size for kind, size in sizes if kind == "kv")
