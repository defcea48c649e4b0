"""Layer patterns, shared blocks, prediction layers and refusals of the hybrid families, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hybridconfigs import CLASSES, DRAWS
from hypothesis import given, settings
from hypothesis import strategies as st
from publishedmodels import published

from sizer.errors import InvalidConfig
from sizer.model.architecture import Architecture, MixerKind, MlpKind
from sizer.model.families import build

DATA = Path(__file__).parent.parent / "data" / "hybrids"


def drawn(model_type: str, seed: int = 0, **fields: object) -> Architecture:
    """The architecture of a small config of a family."""
    config = DRAWS[model_type](Random(seed)) | {"model_type": model_type, "architectures": [CLASSES[model_type]]}
    return build(config | fields, model_type)


def kinds(architecture: Architecture) -> list[tuple[str, ...]]:
    """The mixers of each layer."""
    return [tuple(mixer.kind.value for mixer in layer.mixers) for layer in architecture.layers]


@pytest.mark.parametrize("row", published(DATA), ids=lambda row: row["model"])
def test_published_counts(row: dict[str, str]) -> None:
    """Published models have the total, active and stored parameters that their authors' files have."""
    config = json.loads((DATA / row["config"]).read_text(encoding="utf-8"))
    architecture = build(config, row["model"])
    assert architecture.total_params == int(row["total_params"])
    assert architecture.active_params == int(row["active_params"])
    assert architecture.checkpoint_params == int(row["checkpoint_params"])


def test_jamba_places_attention_by_period_and_offset() -> None:
    """Layers whose index is the offset within a period attend, all others keep a state."""
    places = {"num_hidden_layers": 6, "attn_layer_period": 3, "attn_layer_offset": 2}
    assert kinds(drawn("jamba", **places)) == [("ssm",), ("ssm",), ("full",)] * 2


def test_nemotron_pattern_spells_the_layers() -> None:
    """M is a state-space layer, * attention, E experts and - an MLP, one to a layer."""
    architecture = drawn("nemotron_h", hybrid_override_pattern="M*E-", layers_block_type=None)
    assert kinds(architecture) == [("ssm",), ("full",), (), ()]
    assert [layer.mlp for layer in architecture.layers] == [MlpKind.NONE, MlpKind.NONE, MlpKind.MOE, MlpKind.DENSE]


def test_falcon_h1_mixes_in_parallel() -> None:
    """Each layer has attention and a state-space mixer side by side."""
    assert set(kinds(drawn("falcon_h1"))) == {("full", "ssm")}


def test_full_attention_interval_counts_from_one() -> None:
    """With an interval of three, layers 3, 6 … attend."""
    fields = {"num_hidden_layers": 6, "full_attention_interval": 3, "layer_types": None}
    assert kinds(drawn("qwen3_next", **fields)) == [("linear",), ("linear",), ("full",)] * 2


def test_kimi_lists_layers_from_one() -> None:
    """`full_attn_layers` numbers layers from one."""
    listed = {"full_attn_layers": [2], "kda_layers": [1, 3], "num_heads": 2, "head_dim": 8}
    fields = {"num_hidden_layers": 3, "linear_attn_config": listed | {"short_conv_kernel_size": 4}}
    assert kinds(drawn("kimi_linear", **fields)) == [("linear",), ("mla",), ("linear",)]


def test_zamba_stores_its_shared_block_once() -> None:
    """A tied Zamba with twice as many hybrid layers stores the same shared block, and caches twice as much."""
    fields = {"num_hidden_layers": 4, "tie_word_embeddings": True}
    once = drawn("zamba", **fields, layers_block_type=["hybrid", "mamba", "mamba", "mamba"])
    twice = drawn("zamba", **fields, layers_block_type=["hybrid", "mamba", "hybrid", "mamba"])
    hidden = once.hidden_size
    assert twice.total_params - once.total_params == hidden * hidden  # each hybrid layer's own projection
    assert sum("full" in layer for layer in kinds(twice)) == 2
    assert "stored once" in twice.notes[0]


def test_states_do_not_grow_with_the_context() -> None:
    """A state mixer caches nothing for a token, whatever the context."""
    for mixer in drawn("mamba2").layers[0].mixers:
        assert mixer.kind is MixerKind.SSM
        assert mixer.state_elements > 0
        assert mixer.kv_elements_per_token == 0


@pytest.mark.parametrize(
    ("model_type", "fields", "named"),
    [
        ("jamba", {"attn_layer_period": 2, "attn_layer_offset": 2}, "attn_layer_offset"),
        ("mamba2", {"num_heads": 5}, "num_heads"),
        ("bamba", {"mamba_n_heads": 7}, "mamba_n_heads"),
        ("nemotron_h", {"hybrid_override_pattern": "M?E", "layers_block_type": None}, "hybrid_override_pattern"),
        ("granitemoehybrid", {"num_hidden_layers": 3, "layer_types": ["mamba", "conv", "mamba"]}, "layer_types"),
        ("granitemoehybrid", {"num_hidden_layers": 3, "layer_types": ["mamba"]}, "layer_types"),
        ("qwen3_next", {"linear_num_value_heads": 3, "linear_num_key_heads": 2}, "linear_num_value_heads"),
        ("kimi_linear", {"linear_attn_config": {"full_attn_layers": [1], "kda_layers": [1]}}, "kda_layers"),
        ("lfm2_moe", {"layer_types": None}, "layer_types"),
        ("rwkv", {"hidden_size": -1}, "hidden_size"),
        ("zamba2", {"layers_block_type": ["mamba", "attention"]}, "layers_block_type"),
        ("recurrent_gemma", {"block_types": ["recurrent", "lstm"]}, "block_types"),
    ],
)
def test_contradictions_name_the_field(model_type: str, fields: dict[str, object], named: str) -> None:
    """A config that contradicts itself is an error that names the field."""
    with pytest.raises(InvalidConfig, match=named):
        drawn(model_type, **({"layer_types": None} if model_type == "kimi_linear" else {}), **fields)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(DRAWS)), st.integers(0, 10**6))
def test_every_layer_is_listed_once(model_type: str, seed: int) -> None:
    """Layers are numbered from nought without a gap, and no tensor names one beyond them."""
    architecture = drawn(model_type, seed)
    assert [layer.index for layer in architecture.layers] == list(range(architecture.num_layers))
    held = {layer for tensor in architecture.tensors if not tensor.checkpoint_only for layer in tensor.layers}
    assert held == set(range(architecture.num_layers))
    assert architecture.active_params <= architecture.total_params <= architecture.checkpoint_params
