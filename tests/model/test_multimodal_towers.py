"""Towers, connectors and text parts of multimodal models, without torch: published counts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from publishedmodels import published

from sizer.errors import InvalidConfig, UnsupportedArchitecture
from sizer.model.architecture import Architecture, Role, Tower
from sizer.model.families import build

DATA = Path(__file__).parent.parent / "data" / "multimodal"
TEXT = {"model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = TEXT | {"num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 1000}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}


def llava(**fields: Any) -> Architecture:
    """A small LLaVA."""
    whole = {"model_type": "llava", "text_config": SMALL, "vision_config": {"model_type": "clip_vision_model"} | VISION}
    return build(whole | {"architectures": ["LlavaForConditionalGeneration"]} | fields, "llava")


def params(architecture: Architecture, tower: Tower) -> int:
    """Parameters of one part of the model."""
    return sum(tensor.total_elements for tensor in architecture.tensors if tensor.tower is tower)


@pytest.mark.parametrize("row", published(DATA), ids=lambda row: row["model"])
def test_published_counts(row: dict[str, str]) -> None:
    """Published models have the parameters that their authors' files have, towers and stored extras included."""
    config = json.loads((DATA / row["config"]).read_text(encoding="utf-8"))
    architecture = build(config, row["model"])
    assert architecture.total_params == int(row["total_params"])
    assert architecture.checkpoint_params == int(row["checkpoint_params"])


@pytest.mark.parametrize(("layers", "inner", "shared", "stored"), [
    (30, 8192, 10, 5_439_438_272), (35, 16384, 15, 7_849_978_192),
])  # fmt: skip
def test_gemma_3n_stores_what_its_files_hold(layers: int, inner: int, shared: int, stored: int) -> None:
    """Both published Gemma 3n sizes follow from one count of the timm encoder, which no config field sizes."""
    kinds = ["full_attention" if (index + 1) % 5 == 0 else "sliding_attention" for index in range(layers)]
    text = {"hidden_size": 2048, "intermediate_size": [inner] * layers, "num_hidden_layers": layers}
    text |= {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 262400}
    text |= {"layer_types": kinds, "num_kv_shared_layers": shared}
    architecture = build({"model_type": "gemma3n", "text_config": text}, "gemma-3n")
    assert architecture.checkpoint_params == stored
    assert "timm" in architecture.notes[-1]


def test_towers_are_told_apart() -> None:
    """Every tensor belongs to the text, a tower or the projector, and the text's layers are the model's."""
    architecture = llava()
    assert architecture.num_layers == 2
    assert params(architecture, Tower.VISION) > 0
    assert params(architecture, Tower.PROJECTOR) == 64 * 32 + 64 + 64 * 64 + 64
    assert sum(params(architecture, tower) for tower in Tower) == architecture.checkpoint_params
    assert architecture.vocab_size == 1000


def test_the_text_part_is_its_own_family() -> None:
    """A wrapper's text part has the parameters of the text model alone."""
    alone = build(SMALL | {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False}, "qwen2")
    assert params(llava(), Tower.TEXT) == alone.total_params


def test_a_tied_head_is_no_second_table() -> None:
    """Where the text config ties the head, LLaVA ties it too."""
    tied = llava(text_config=SMALL | {"tie_word_embeddings": True})
    assert tied.tied_embeddings
    assert not [tensor for tensor in tied.tensors if tensor.role is Role.LM_HEAD]
    assert llava().total_params - tied.total_params == 1000 * 64


def test_the_class_named_decides_what_is_built() -> None:
    """A text class named for a multimodal model_type builds no tower; the whole class does."""
    text = {key: value for key, value in SMALL.items() if key != "model_type"} | {"head_dim": 16}
    fields = {"model_type": "qwen3_5", "text_config": text, "vision_config": {"depth": 1, "out_hidden_size": 64}}
    alone = build(fields | {"architectures": ["Qwen3_5ForCausalLM"]}, "qwen3_5")
    whole = build(fields | {"architectures": ["Qwen3_5ForConditionalGeneration"]}, "qwen3_5")
    assert params(alone, Tower.VISION) == 0 < params(whole, Tower.VISION)
    assert params(alone, Tower.TEXT) == params(whole, Tower.TEXT)


def test_an_optional_tower_may_be_absent() -> None:
    """Gemma 4 without a vision_config has no vision tower, and one with it has."""
    text = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 2, "vocab_size": 1000, "vocab_size_per_layer_input": 1000}
    blind = build({"model_type": "gemma4", "text_config": text, "vision_config": None}, "gemma4")
    seeing = build({"model_type": "gemma4", "text_config": text, "vision_config": {"num_hidden_layers": 1}}, "gemma4")
    assert params(blind, Tower.VISION) == 0 < params(seeing, Tower.VISION)


def test_an_unknown_tower_is_refused() -> None:
    """A tower of a model_type that nothing describes is refused by name, never skipped."""
    with pytest.raises(UnsupportedArchitecture, match="convnext"):
        llava(vision_config={"model_type": "convnext"} | VISION)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vision_config": {"model_type": "clip_vision_model"} | VISION | {"hidden_size": -4}}, "vision_config"),
        ({"vision_config": {"model_type": "clip_vision_model", "image_size": [1, 2, 3]}}, "image_size"),
        ({"vision_config": 7}, "vision_config"),
        ({"text_config": SMALL | {"num_key_value_heads": 3}}, "num_key_value_heads"),
    ],
)
def test_a_bad_field_of_a_part_is_named(fields: dict[str, Any], named: str) -> None:
    """A contradiction inside a part's config names the field with its path."""
    with pytest.raises(InvalidConfig, match=named):
        llava(**fields)
