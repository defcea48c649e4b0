"""Configs that cannot be trusted: an error names the field, nothing is guessed, nothing crashes."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidConfig, ModelError, UnsupportedArchitecture
from sizer.model.config import class_defaults
from sizer.model.families import build, supported

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
MIXTRAL = LLAMA | {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2,
}  # fmt: skip
LFM2 = LLAMA | {"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2"}
MAMBA: dict[str, Any] = {
    "architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 2,
    "vocab_size": 50280, "state_size": 16,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12,
    "vocab_size": 50257, "n_positions": 1024,
}  # fmt: skip
VISION: dict[str, Any] = {
    "model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"], "text_config": LLAMA,
}  # fmt: skip
WITHOUT = object()


@pytest.mark.parametrize(
    ("base", "field", "value"),
    [
        *[(LLAMA, name, WITHOUT) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")],
        (LLAMA, "intermediate_size", WITHOUT),
        (LLAMA, "hidden_size", -4096),
        (LLAMA, "hidden_size", 0),
        (LLAMA, "hidden_size", True),
        (LLAMA, "hidden_size", "4096"),
        (LLAMA, "hidden_size", 4096.5),
        (LLAMA, "hidden_size", float("nan")),
        (LLAMA, "hidden_size", 10**15),
        (LLAMA, "vocab_size", [128256]),
        (LLAMA, "num_hidden_layers", 10**6),
        (LLAMA, "num_key_value_heads", 5),
        (LLAMA, "num_key_value_heads", 64),
        (LLAMA, "num_attention_heads", 24),
        (LLAMA, "tie_word_embeddings", "yes"),
        (LLAMA, "attention_bias", 2),
        (LLAMA, "torch_dtype", "float3"),
        (LLAMA, "max_position_embeddings", -1),
        (LLAMA, "quantization_config", "int4"),
        (LLAMA, "architectures", "LlamaForCausalLM"),
        (LLAMA, "model_type", 7),
        (MIXTRAL, "num_experts_per_tok", 9),
        (MIXTRAL, "num_local_experts", -8),
        (MIXTRAL, "sliding_window", 0),
        (LLAMA | {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"}, "num_experts", -1),
        (LLAMA | {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe"}, "num_local_experts", 0),
        (GPT2, "n_embd", -768),
        (GPT2, "n_layer", 0),
        (MAMBA, "expand", -1),
        (LFM2, "block_ffn_dim_multiplier", -1),
        (LFM2, "full_attn_idxs", ["a"]),
        (LLAMA | {"model_type": "qwen3"}, "layer_types", ["full_attention"] * 31),
        (LLAMA | {"model_type": "qwen3"}, "layer_types", ["half_attention"] * 32),
        (LLAMA | {"model_type": "deepseek_v3", "n_routed_experts": 4}, "num_experts_per_tok", 8),
    ],
)
def test_bad_field_is_named(base: dict[str, Any], field: str, value: object) -> None:
    """A missing, negative, absurd, mistyped or contradictory field is an InvalidConfig that names it."""
    fields = {**base, field: value} if value is not WITHOUT else {k: v for k, v in base.items() if k != field}
    with pytest.raises(InvalidConfig, match=field):
        build(fields, "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [("temporal_patch_size", [2]), ("deepstack_visual_indexes", ["a"]), ("depth", -1), ("patch_size", "16")],
)
def test_bad_tower_field_is_named_with_its_path(field: str, value: object) -> None:
    """A bad field of a sub-config is named with the sub-config that it stands in."""
    with pytest.raises(InvalidConfig, match=rf"vision_config\.{field}"):
        build(VISION | {"vision_config": {field: value}}, "x")


def test_class_default_that_contradicts_is_told_from_a_stated_value() -> None:
    """Where a file leaves out a field whose class default does not fit, the error says that it is missing."""
    fields = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    with pytest.raises(InvalidConfig, match="'num_key_value_heads' is missing, and its class takes 32"):
        build(fields | {"model_type": "qwen3", "num_attention_heads": 16}, "x")


def test_absurd_product_is_refused() -> None:
    """Sizes that are each possible, but together make a model beyond any, name the one that sticks out."""
    with pytest.raises(InvalidConfig, match="intermediate_size"):
        build(LLAMA | {"intermediate_size": 2**26, "num_hidden_layers": 4000}, "x")


def test_null_takes_the_derived_value() -> None:
    """An explicit null counts as missing: KV heads are then as many as heads, and the head size is derived."""
    fields = LLAMA | {"num_key_value_heads": None, "head_dim": None}
    assert build(fields, "x").total_params == build(LLAMA | {"num_key_value_heads": 32}, "x").total_params


def test_null_hides_a_class_default() -> None:
    """Mistral's `sliding_window: null` means no window, although its class has one by default."""
    fields = LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    windows = {layer.mixers[0].window_tokens for layer in build(fields | {"sliding_window": None}, "x").layers}
    assert windows == {None}
    assert {layer.mixers[0].window_tokens for layer in build(fields, "x").layers} == {4096}


def test_either_name_identifies_the_model() -> None:
    """`model_type` alone and `architectures` alone lead to the same family."""
    whole = build(LLAMA, "x")
    for missing in ("model_type", "architectures"):
        part = build({name: value for name, value in LLAMA.items() if name != missing}, "x")
        assert (part.total_params, part.architecture) == (whole.total_params, whole.architecture)


def test_contradiction_is_noted() -> None:
    """A class that belongs to another model_type is noted, and model_type decides, as in transformers."""
    built = build(LLAMA | {"architectures": ["Qwen2ForCausalLM"]}, "x")
    assert built.architecture == "LlamaForCausalLM"
    assert any("model_type decides" in note for note in built.notes)


@pytest.mark.parametrize("fields", [{}, {"architectures": []}, {"model_type": None}])
def test_unnamed_config_is_refused(fields: dict[str, Any]) -> None:
    """A config that names neither a class nor a model_type is no model."""
    with pytest.raises(InvalidConfig, match="model_type"):
        build({**{k: v for k, v in LLAMA.items() if k not in ("architectures", "model_type")}, **fields}, "x")


def test_unknown_architecture_offers_a_way() -> None:
    """An unknown class is refused with the nearest name and the remedy, whatever fields it shares with Llama."""
    with pytest.raises(UnsupportedArchitecture) as refused:
        build(LLAMA | {"architectures": ["Lama7ForCausalLM"], "model_type": "lama7"}, "x")
    assert "Lama7ForCausalLM" in refused.value.message
    assert "meta device" in refused.value.hint


def test_encoder_decoder_is_not_taken_for_its_decoder() -> None:
    """A conditional class that no family describes has an encoder that its causal class lacks: refused, not halved."""
    fields = {**class_defaults("bigbird_pegasus").fields, "model_type": "bigbird_pegasus"}
    with pytest.raises(UnsupportedArchitecture):
        build({**fields, "architectures": ["BigBirdPegasusForConditionalGeneration"]}, "x")


def whole_default(model_type: str, depth: int = 0) -> dict[str, Any]:
    """A class's default fields, its sub-configs written out."""
    defaults = class_defaults(model_type)
    nested = {
        name: whole_default(spec["model_type"], depth + 1) | spec["init"] | {"model_type": spec["model_type"]}
        for name, spec in defaults.sub_configs.items()
        if depth < 3
    }
    return {**defaults.fields, **nested}


@lru_cache(maxsize=1)
def whole_defaults() -> tuple[dict[str, Any], ...]:
    """A whole default config of each family."""
    return tuple(
        whole_default(row.model_type) | {"model_type": row.model_type, "architectures": [row.architecture]}
        for row in supported()
    )


BAD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(10**9, 10**19),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-2, 9), st.none(), st.dictionaries(st.text(max_size=2), st.none())), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(-1, 3), max_size=2),
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_corrupt_config_never_crashes(data: st.DataObject) -> None:
    """Any field of any class, or of a sub-config, replaced by anything is a model or a ModelError, nothing else."""
    fields = deepcopy(data.draw(st.sampled_from(whole_defaults())))
    for _ in range(data.draw(st.integers(1, 2))):
        place: dict[str, Any] = fields
        name = data.draw(st.sampled_from(sorted(place)))
        while isinstance(place[name], dict) and place[name] and data.draw(st.booleans()):
            place = place[name]
            name = data.draw(st.sampled_from(sorted(place)))
        place[name] = data.draw(BAD)
    try:
        built = build(fields, "x")
    except ModelError:
        return
    assert 0 < built.total_params <= built.checkpoint_params


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16", "torch_dtype": "float16"}, "bfloat16"),
        ({}, "float32"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "bfloat16"),
    ],
)
def test_dtype_is_the_checkpoints(fields: dict[str, Any], dtype: str) -> None:
    """The float type is the file's; without one float32, but 16-bit beside quantized tensors."""
    assert build(LLAMA | fields, "x").dtype == dtype


def test_layer_overrides_are_refused_where_nothing_reads_them() -> None:
    """`per_layer_config` changes single layers: a family that does not read it refuses, rather than leave it out."""
    with pytest.raises(UnsupportedArchitecture, match="per_layer_config"):
        build(LLAMA | {"per_layer_config": {"3": {"intermediate_size": 64}}}, "x")
