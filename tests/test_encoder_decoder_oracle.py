"""Whole encoder-decoder models against transformers on the meta device, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from metamodels import as_json, config_of, inventory, oracle

from sizer.model.architecture import MixerKind, Tower
from sizer.model.families import build, supported

ROWS = [row for row in supported() if row.module in ("encoder_decoder", "t5gemma")]
DEPTHS = ("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers", "num_hidden_layers")
WIDTHS = ("d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "intermediate_size")

# As google/flan-t5-xl states it.
FLAN_T5_XL = {
    "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_ff": 5120, "d_kv": 64, "d_model": 2048,
    "feed_forward_proj": "gated-gelu", "num_decoder_layers": 24, "num_heads": 32, "num_layers": 24,
    "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "vocab_size": 32128,
}  # fmt: skip


def vary(fields: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    """A copy with few layers, other widths, and here and there an untied head."""
    varied: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "layer_types" or (name == "num_hidden_layers" and "encoder_layers" in fields):
            continue
        if isinstance(value, dict) and name in ("encoder", "decoder", "text_config", "vision_config"):
            varied[name] = vary(value, draw)
        elif name in DEPTHS and isinstance(value, int):
            varied[name] = draw.choice([1, 2, 3])
        elif name in WIDTHS:
            varied[name] = draw.choice([64, 96])
        elif name == "tie_word_embeddings" and draw.random() < 0.4:
            varied[name] = not value
        else:
            varied[name] = value
    return varied


@pytest.mark.oracle
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model_type)
def test_class_lists_every_parameter(row: Any) -> None:
    """Default and varied configs list transformers' parameters, name by name."""
    default = as_json(config_of(row.model_type), row.architecture)
    for seed in range(3):
        config = config_of(row.model_type, vary(default, Random(seed)) if seed else default)
        saved = as_json(config, row.architecture) | {"model_type": row.model_type}
        assert inventory(build(saved, row.model_type).tensors) == oracle(config, row.architecture)


def test_flan_t5_has_the_published_count() -> None:
    """google/flan-t5-xl stores 2,849,757,184 parameters (hub API), its head among them, which transformers ties."""
    model = build(FLAN_T5_XL, "google/flan-t5-xl")
    assert model.checkpoint_params == 2_849_757_184
    assert model.total_params == 2_849_757_184 - 32128 * 2048


def test_the_encoder_stands_apart_from_what_decoding_reads() -> None:
    """Layers are the decoder's, with self- and cross-attention; the encoder's tensors have a tower of their own."""
    model = build(FLAN_T5_XL | {"num_layers": 12}, "x")
    assert model.num_layers == 24
    assert {mixer.kind for layer in model.layers for mixer in layer.mixers} == {MixerKind.FULL, MixerKind.CROSS}
    encoder = [tensor for tensor in model.tensors if tensor.tower is Tower.ENCODER]
    assert {len(tensor.layers) for tensor in encoder} == {0, 1, 12}


def test_the_class_named_decides_between_the_decoder_and_the_whole() -> None:
    """A BART file that names the causal class is its decoder alone; without a class too."""
    default = {**as_bart(), "architectures": ["BartForConditionalGeneration"]}
    whole, decoder = build(default, "x"), build({**default, "architectures": ["BartForCausalLM"]}, "x")
    bare = build({name: value for name, value in default.items() if name != "architectures"}, "x")
    assert whole.total_params > decoder.total_params == bare.total_params


def as_bart() -> dict[str, Any]:
    """A small BART file."""
    return {
        "model_type": "bart", "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 100,
        "max_position_embeddings": 64,
    }  # fmt: skip
