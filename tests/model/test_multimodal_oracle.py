"""Multimodal classes against transformers on the meta device: default and drawn configs, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from metamodels import as_json, config_of, inventory, oracle
from oracles import drawn
from writtenconfigs import WRITTEN

from sizer.model.architecture import Tower
from sizer.model.families import build

DATA = Path(__file__).parent.parent / "data" / "multimodal"
DRAWN = 2
DEPTHS = (
    "num_hidden_layers",
    "depth",
    "encoder_layers",
    "resampler_depth",
    "num_global_layers",
    "num_blocks",
    "num_layers",
)
WIDTHS = ("intermediate_size", "encoder_ffn_dim", "moe_intermediate_size", "mlp_dim", "projector_hidden_size")
PER_LAYER = (
    "layer_types",
    "indexer_types",
    "mlp_layer_types",
    "per_layer_config",
    "no_rope_layers",
    "kv_source_layers",
    "moe_layers",
    "vision_feature_layer",
)
FLAGS = ("tie_word_embeddings", "vision_use_head", "projector_use_layernorm", "use_qk_norm", "use_mask_token")

pytestmark = pytest.mark.oracle


def vary(fields: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    """A copy with few layers, and other widths, biases and flags, in the sub-configs too."""
    varied: dict[str, Any] = {}
    for name, value in fields.items():
        if name in PER_LAYER:
            continue
        if isinstance(value, dict) and name.endswith("_config"):
            varied[name] = vary(value, draw)
        elif name in DEPTHS and isinstance(value, int) and "depths" not in fields:
            varied[name] = draw.choice([1, 2, 3])
        elif name in WIDTHS and isinstance(value, int):
            varied[name] = draw.choice([64, 96, 128])
        elif isinstance(value, bool) and (name in FLAGS or name.endswith("_bias")) and draw.random() < 0.4:
            varied[name] = not value
        else:
            varied[name] = value
    return varied


@pytest.mark.parametrize(("model_type", "architecture", "fields"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_written_config_lists_every_parameter(model_type: str, architecture: str, fields: dict[str, Any]) -> None:
    """A file as people write it lists the parameters that transformers builds from it."""
    config = config_of(model_type, fields)
    text_alone = architecture.endswith("ForCausalLM") and "backbone_hidden_size" not in fields
    expected = oracle(config.get_text_config() if text_alone else config, architecture)
    counts = inventory(build(fields | {"model_type": model_type, "architectures": [architecture]}, model_type).tensors)
    assert sorted(counts.values()) == sorted(expected.values())


@pytest.mark.parametrize(("model_type", "architecture"), [row[:2] for row in drawn("nested")])
def test_class_lists_every_parameter(model_type: str, architecture: str) -> None:
    """Default and varied configs list transformers' parameters: all sizes, and all towers name by name."""
    default = as_json(config_of(model_type), architecture)
    for seed in range(DRAWN + 1):
        fields = vary(default, Random(seed)) if seed else default
        config = config_of(model_type, fields)
        saved = as_json(config, architecture) | {"model_type": model_type}
        listed, expected = build(saved, model_type).tensors, oracle(config, architecture)
        counts = inventory(listed)
        assert sorted(counts.values()) == sorted(expected.values()), fields
        # Some text families list the checkpoint's names, which the class renames when it loads them.
        beside = inventory(tensor for tensor in listed if tensor.tower is not Tower.TEXT)
        assert beside.items() <= expected.items()


@pytest.mark.parametrize(
    ("model_type", "architecture", "part", "fields"),
    [
        ("pix2struct", "Pix2StructForConditionalGeneration", "text_config", {"num_heads": 24}),
        ("pix2struct", "Pix2StructForConditionalGeneration", "text_config", {"hidden_size": 384}),
        ("pix2struct", "Pix2StructForConditionalGeneration", "text_config", {"d_kv": 16}),
        ("kosmos-2.5", "Kosmos2_5ForConditionalGeneration", "text_config", {"tie_word_embeddings": False}),
        ("phi4_multimodal", "Phi4MultimodalForCausalLM", "audio_config", {"time_reduction": 16}),
        ("phi4_multimodal", "Phi4MultimodalForCausalLM", "audio_config", {"input_size": 40}),
        ("phi4_multimodal", "Phi4MultimodalForCausalLM", "audio_config", {"nemo_final_size": 2}),
    ],
)
def test_rare_fields_count_as_they_build(model_type: str, architecture: str, part: str, fields: dict[str, Any]) -> None:
    """Fields of one part that few files change: the sizes of all parameters are still transformers'."""
    default = as_json(config_of(model_type), architecture)
    config = config_of(model_type, default | {part: default[part] | fields})
    saved = as_json(config, architecture) | {"model_type": model_type}
    counts = inventory(build(saved, model_type).tensors)
    assert sorted(counts.values()) == sorted(oracle(config, architecture).values())
