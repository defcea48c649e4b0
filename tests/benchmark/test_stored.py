"""Repositories that are stored quantized: built as their library lays them out, or told which package they need."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.benchmark.worker import name_error

TOY = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 512, "dtype": "bfloat16",
}  # fmt: skip


def _compressed(layout: str, bits: int, kind: str, **weights: Any) -> dict[str, Any]:
    scheme = {"num_bits": bits, "type": kind, "symmetric": True, "dynamic": False, **weights}
    activations = {"num_bits": bits, "type": kind, "strategy": "token", "dynamic": True, "symmetric": True}
    group = {"targets": ["Linear"], "weights": scheme}
    return {
        "quant_method": "compressed-tensors",
        "format": layout,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group if bits < 8 else {**group, "input_activations": activations}},
    }


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("precision", "own"),
    [
        ("w8a8-int8", _compressed("int-quantized", 8, "int", strategy="channel")),
        ("w4a16-int4", _compressed("pack-quantized", 4, "int", strategy="group", group_size=128)),
        ("fp8", _compressed("float-quantized", 8, "float", strategy="channel")),
    ],
)
def test_random_weights_have_the_stored_layout(precision: str, own: dict[str, Any]) -> None:
    """The bytes in memory are those that are predicted, for each layout that compressed-tensors has."""
    pytest.importorskip("compressed_tensors")
    import torch

    from sizer.benchmark.records import Spec
    from sizer.benchmark.torch_memory import resident_weight_bytes
    from sizer.benchmark.transformers_loading import load
    from sizer.model.architecture import Basis
    from sizer.model.families import build
    from sizer.precision.store import store

    config = {**TOY, "quantization_config": own}
    loaded = load(Spec("transformers", "toy", precision, config=config, device="cpu"), torch.device("cpu"))
    predicted = store(build(config, "toy", Basis.CONFIG), precision, engine="transformers")
    assert resident_weight_bytes(loaded) == predicted.weights_bytes


@pytest.mark.parametrize(
    ("package", "command"),
    [("bitsandbytes", "pip install 'sizer-llm[bench]'"), ("gptqmodel.utils", "pip install gptqmodel")],
)
def test_a_missing_package_is_named_with_what_installs_it(package: str, command: str) -> None:
    """The extra brings torch and its kin; the package of a stored format is installed by its own name."""
    error = name_error(ModuleNotFoundError(f"No module named {package!r}", name=package), "loading")
    assert error.hint.endswith(command)
    assert package.partition(".")[0] in error.message
