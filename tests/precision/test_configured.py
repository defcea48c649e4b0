"""Checkpoints that say how they are stored: methods, exceptions, and configs that must not be trusted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
from effort import RUNAWAY_S
from hypothesis import given, settings
from hypothesis import strategies as st
from precisionmodels import experts_model

from sizer.errors import InvalidConfig, SizerError, UnknownPrecision
from sizer.model.architecture import Architecture, Role
from sizer.precision.configured_methods import readers
from sizer.precision.patterns import Names
from sizer.precision.reference import reference_architecture
from sizer.precision.store import configured_precision, store, store_as_configured

FP8_WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel"}
CONFIGS: list[tuple[dict[str, Any], str, str]] = [
    ({"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "gptq"}, "gptq-int4", "gptq-int4"),
    ({"quant_method": "gptq", "bits": 4, "group_size": 32, "meta": {}}, "gptq-int4-g32", "gptq-int4-g32"),
    ({"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": True}, "gptq-int8-g-1", "gptq-int8-g-1+bias"),
    ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, "awq-int4", "awq-int4"),
    ({"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:auto_awq"}, "awq-int4", "awq-int4"),
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", "fp8-block"),
    ({"quant_method": "fp8", "activation_scheme": "static"}, "fp8", "fp8-tensor"),
    ({"quant_method": "fbgemm_fp8"}, "fp8-channel", "fp8-channel"),
    ({"load_in_8bit": True, "quant_method": "bitsandbytes"}, "int8", "bnb-int8"),
    ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, "nf4-dq", "bnb-nf4-dq"),
    ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "quant_method": "bitsandbytes"}, "fp4", "bnb-fp4"),
    ({"quant_method": "mxfp4"}, "mxfp4", "mxfp4"),
    ({"bits": 3, "group_size": 32}, "mlx-3bit-g32", "mlx-3bit-g32"),
    ({"quant_method": "exl2", "bits": 4.25, "head_bits": 6}, "exl2-4.25bpw", "exl2-4.25bpw"),
    ({"quant_method": "exl3", "bits": 3}, "exl3-3.00bpw", "exl3-3.00bpw"),
    ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, "hqq-4bit", "hqq-4bit"),
    ({"quant_method": "quanto", "weights": "int8"}, "quanto-int8", "quanto-int8"),
    ({"quant_method": "torchao", "quant_type": {"default": "Int8WeightOnlyConfig"}}, "torchao-int8", "torchao-int8"),
    ({"quant_method": "aqlm"}, "aqlm-2bit", "aqlm-2bit"),
    ({"quant_method": "bitnet"}, "bitnet", "bitnet"),
    ({"quant_algo": "NVFP4", "quant_method": "modelopt", "exclude_modules": ["lm_head"]}, "nvfp4", "nvfp4-linear"),
    ({"quant_algo": "FP8", "config_groups": {}}, "fp8", "fp8-tensor"),
    (
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": FP8_WEIGHTS}}},
        "fp8", "fp8-channel",
    ),
    (
        {
            "quant_method": "compressed-tensors", "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
        },
        "w4a16-int4", "w4a16-int4",
    ),
    (
        {
            "quant_method": "compressed-tensors", "format": "int-quantized",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int"}}},
        },
        "w8a8-int8", "w8a8-int8",
    ),
    (
        {
            "quant_method": "quark",
            "global_quant_config": {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}},
        },
        "mxfp4", "mxfp4",
    ),
]  # fmt: skip


def configured(settings_: dict[str, Any], model: Architecture | None = None) -> Architecture:
    """Llama-3-8B with a quantization_config."""
    return replace(model or reference_architecture(), quantization=settings_)


@pytest.mark.parametrize(("config", "precision", "key"), CONFIGS, ids=lambda value: value if type(value) is str else "")
def test_every_method_is_read(config: dict[str, Any], precision: str, key: str) -> None:
    """Each quantization method names its precision and stores projections in its format."""
    model = configured(config)
    if precision == "mxfp4" and config["quant_method"] == "mxfp4":
        model = configured(config, experts_model())
    assert configured_precision(model) == precision
    stored = store_as_configured(model)
    assert stored.precision == precision
    formats = {part.format for part in stored.tensors}
    assert key in formats
    assert stored.weights_bytes < store(model, "bf16").weights_bytes


def test_every_method_of_the_table_has_a_case() -> None:
    """A method added to the table is tested here."""
    cases = {str(config.get("quant_method", "")).replace("_", "-") for config, _, _ in CONFIGS}
    named_otherwise = {"mlx", "modelopt", "gguf", "intel/auto-round"}
    assert set(readers()) - named_otherwise <= cases


def test_base_precisions_still_answer() -> None:
    """A quantized checkpoint is sized in any other precision too, and its own precision is its own layout."""
    model = configured({"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq"})
    assert store(model, "bf16").weights_bytes == store(reference_architecture(), "bf16").weights_bytes
    assert store(model, "q4_k_m").weights_bytes == store(reference_architecture(), "q4_k_m").weights_bytes
    fp8 = configured({"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["q_proj"]})
    assert store(fp8, "fp8").tensors == store_as_configured(fp8).tensors
    assert store(fp8, "fp8").tensors != store(reference_architecture(), "fp8").tensors


def test_a_model_without_quantization_is_its_own_float() -> None:
    """No quantization_config: no configured precision, and the checkpoint's own type."""
    for dtype, precision in (("bfloat16", "bf16"), ("float16", "fp16"), ("float32", "fp32")):
        model = replace(reference_architecture(), dtype=dtype)
        assert configured_precision(model) is None
        assert store_as_configured(model).tensors == store(model, precision).tensors


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        (["model.layers.3.self_attn.q_proj"], {Role.Q: (3,)}),
        (["model.language_model.layers.3.self_attn*"], {Role.Q: (3,), Role.K: (3,), Role.V: (3,), Role.O: (3,)}),
        (["re:.*layers\\.(1|2)\\.mlp\\.gate_proj$"], {Role.GATE: (1, 2)}),
        (["*.mlp.down_proj"], {Role.DOWN: tuple(range(32))}),
        (["gate"], {}),
        (["lm_head", "model.embed_tokens"], {}),
        (["up_proj"], {Role.UP: tuple(range(32))}),
    ],
)
def test_exceptions_are_honoured_layer_by_layer(listed: list[str], left: dict[Role, tuple[int, ...]]) -> None:
    """Plain names, wildcards and expressions leave exactly what they name in 16 bits."""
    stored = store_as_configured(
        configured({"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": listed})
    )
    projections = {Role.Q, Role.K, Role.V, Role.O, Role.GATE, Role.UP, Role.DOWN}
    found: dict[Role, tuple[int, ...]] = {}
    for part in stored.tensors:
        if part.format == "bf16" and part.tensor.role in projections:
            found[part.tensor.role] = tuple(sorted(found.get(part.tensor.role, ()) + part.tensor.layers))
    assert found == left
    assert sum(part.tensor.total_elements for part in stored.tensors) == reference_architecture().total_params


def test_gptqmodels_own_rules_are_honoured() -> None:
    """`dynamic` leaves modules out or gives them other bits, `lm_head` quantizes the head."""
    plain = {"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "gptq"}
    skipped = store_as_configured(configured({**plain, "dynamic": {"-:.*layers\\.0\\.mlp.*": {}}}))
    left = {part.tensor.role for part in skipped.tensors if part.format == "bf16" and part.tensor.layers == (0,)}
    assert left == {Role.GATE, Role.UP, Role.DOWN}
    assert skipped.exact
    mixed = store_as_configured(configured({**plain, "dynamic": {"+:.*down_proj.*": {"bits": 8}}}))
    assert not mixed.exact
    head = store_as_configured(configured({**plain, "lm_head": True}))
    assert {part.format for part in head.tensors if part.tensor.role is Role.LM_HEAD} == {"gptq-int4"}


def test_a_gguf_type_is_sized_by_its_rules() -> None:
    """A model read from a GGUF header names its type; sized from its inventory it follows the mixture."""
    model = configured({"quant_method": "gguf", "type": "q4_k_m"})
    assert configured_precision(model) == "q4_k_m"
    assert store_as_configured(model).tensors == store(reference_architecture(), "q4_k_m").tensors


def test_mixed_precision_gives_each_module_its_own() -> None:
    """modelopt's list by module: experts, attention and head each in their own format, the rest in 16 bits."""
    layers = {
        "model.layers.0.mlp.experts.0.down_proj": {"quant_algo": "NVFP4"},
        "model.layers.1.mlp.experts": {"quant_algo": "NVFP4"},
        "language_model.model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
        "lm_head": {"quant_algo": "W4A16_NVFP4"},
    }
    settings_ = {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers, "quant_method": "modelopt"}
    model = configured(settings_, experts_model())
    found = {(part.tensor.role, part.tensor.layers): part.format for part in store_as_configured(model).tensors}
    assert configured_precision(model) == "nvfp4"
    assert found[Role.EXPERT_DOWN, (0, 1)] == "nvfp4-linear"
    assert found[Role.Q, (0,)] == "fp8-tensor"
    assert found[Role.Q, (1,)] == "bf16"
    assert found[Role.LM_HEAD, ()] == "nvfp4-linear"


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "vptq"},
        {"quant_algo": "W2A2"},
        {"quant_method": "fp8", "weight_block_size": [64, 64]},
        {"quant_method": "awq", "bits": 7},
        {"quant_method": "torchao", "quant_type": "float3"},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 5, "type": "int"}}}},
        {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"a": {"quant_algo": "W2"}}},
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "int3"}}},
    ],
)
def test_an_unknown_method_is_an_error_and_base_precisions_answer(config: dict[str, Any]) -> None:
    """What no scheme describes is refused by name, and never stands in the way of another precision."""
    model = configured(config)
    with pytest.raises(UnknownPrecision):
        store_as_configured(model)
    assert store(model, "int8").weights_bytes == store(reference_architecture(), "int8").weights_bytes


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "fp8", "modules_to_not_convert": "lm_head"},
        {"quant_method": "fp8", "modules_to_not_convert": [3]},
        {"quant_method": "fp8", "modules_to_not_convert": ["x" * 4096]},
        {"quant_method": "fp8", "modules_to_not_convert": ["re:("]},
        {"quant_method": "fp8", "modules_to_not_convert": ["re:(a+)+$"]},
        {"quant_method": "fp8", "modules_to_not_convert": ["*a*a*a*a*a*a*a*a*b"]},
        {"quant_method": "gptq", "bits": "four"},
        {"quant_method": "compressed-tensors"},
    ],
)
def test_a_damaged_config_is_a_clear_error(config: dict[str, Any]) -> None:
    """Lists, patterns and numbers of the wrong kind are refused before they are used."""
    with pytest.raises(InvalidConfig):
        store_as_configured(configured(config))


@given(st.text(st.sampled_from("ab.*+?()|[]{}\\re:$^1 "), max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_pattern_costs_much_or_raises_another_error(pattern: str) -> None:
    """Any pattern matches, is refused, or matches nothing, and none runs away: that would take hours."""
    started = process_time()
    with suppress(InvalidConfig):
        assert isinstance("model.layers.0.self_attn.aaaaaaaaaaaaaaaaaaaaaaaaaaaaab" in Names.of([pattern], "x"), bool)
    assert process_time() - started < RUNAWAY_S


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({field for config, _, _ in CONFIGS for field in config} | {"quantized_layers", "ignore", "targets"})


@given(st.sampled_from(sorted(readers())), st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_config_is_sized_or_refused(method: str, fields: dict[str, Any]) -> None:
    """Whatever a config says, the answer is bytes or one of sizer's errors."""
    model = configured({**fields, "quant_method": method})
    with suppress(SizerError):
        assert store_as_configured(model).weights_bytes > 0
