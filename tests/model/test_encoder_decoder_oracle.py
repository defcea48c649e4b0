"""Whole encoder-decoder models against transformers on the meta device, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from metamodels import as_json, config_of, inventory, oracle
from oracles import drawn

from sizer.model.architecture import MixerKind, Tower
from sizer.model.families import build

DEPTHS = ("num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers", "num_hidden_layers")
WIDTHS = ("d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "intermediate_size")


def flan_t5(width: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    """A Flan-T5 file."""
    return {
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_ff": inner, "d_kv": 64,
        "d_model": width, "feed_forward_proj": "gated-gelu", "num_decoder_layers": layers, "num_heads": heads,
        "num_layers": layers, "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "vocab_size": 32128,
    }  # fmt: skip


def whisper(width: int, layers: int, decoder_layers: int, bins: int, vocab: int) -> dict[str, Any]:
    """A Whisper file."""
    return {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "d_model": width,
        "encoder_layers": layers, "decoder_layers": decoder_layers, "encoder_attention_heads": width // 64,
        "decoder_attention_heads": width // 64, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
        "num_mel_bins": bins, "vocab_size": vocab, "max_source_positions": 1500, "max_target_positions": 448,
    }  # fmt: skip


def bart(vocab: int = 100, width: int = 32, layers: int = 2) -> dict[str, Any]:
    """A BART file."""
    return {
        "architectures": ["BartForConditionalGeneration"], "model_type": "bart", "d_model": width,
        "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": width // 16,
        "decoder_attention_heads": width // 16, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
        "vocab_size": vocab, "max_position_embeddings": 1024,
    }  # fmt: skip


FLAN_T5_XL = flan_t5(2048, 5120, 24, 32)

# Safetensors totals of the hub API; T5 1.1 files store the head that transformers ties.
PUBLISHED = [
    ("google/flan-t5-small", flan_t5(512, 1024, 8, 6), 76_961_152),
    ("google/flan-t5-base", flan_t5(768, 2048, 12, 12), 247_577_856),
    ("google/flan-t5-large", flan_t5(1024, 2816, 24, 16), 783_150_080),
    ("google/flan-t5-xl", FLAN_T5_XL, 2_849_757_184),
    ("google/flan-t5-xxl", flan_t5(4096, 10240, 24, 64), 11_135_332_352),
    ("facebook/bart-large-cnn", bart(50264, 1024, 12), 406_290_432),
    ("openai/whisper-small", whisper(768, 12, 12, 80, 51865), 241_734_912),
    ("openai/whisper-large-v3", whisper(1280, 32, 32, 128, 51866), 1_543_490_560),
    ("openai/whisper-large-v3-turbo", whisper(1280, 32, 4, 128, 51866), 808_878_080),
]


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
@pytest.mark.parametrize("row", drawn("encoder-decoder"), ids=lambda row: row.model_type)
def test_class_lists_every_parameter(row: Any) -> None:
    """Default and varied configs list transformers' parameters, name by name."""
    default = as_json(config_of(row.model_type), row.architecture)
    for seed in range(3):
        config = config_of(row.model_type, vary(default, Random(seed)) if seed else default)
        saved = as_json(config, row.architecture) | {"model_type": row.model_type}
        assert inventory(build(saved, row.model_type).tensors) == oracle(config, row.architecture)


@pytest.mark.parametrize(("model", "config", "published"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_published_counts(model: str, config: dict[str, Any], published: int) -> None:
    """What the hub counts, to the parameter."""
    assert build(config, model).checkpoint_params == published


def test_a_stored_head_that_transformers_ties_is_counted_beside() -> None:
    """Flan-T5 stores its head; transformers ties it whatever the file says, so the total has it once."""
    model = build(FLAN_T5_XL, "google/flan-t5-xl")
    assert model.checkpoint_params - model.total_params == 32128 * 2048


def test_the_encoder_stands_apart_from_what_decoding_reads() -> None:
    """Layers are the decoder's, with self- and cross-attention; the encoder's tensors have a tower of their own."""
    model = build(FLAN_T5_XL | {"num_layers": 12}, "x")
    assert model.num_layers == 24
    assert {mixer.kind for layer in model.layers for mixer in layer.mixers} == {MixerKind.FULL, MixerKind.CROSS}
    encoder = [tensor for tensor in model.tensors if tensor.tower is Tower.ENCODER]
    assert {len(tensor.layers) for tensor in encoder} == {0, 1, 12}


def test_the_class_named_decides_between_the_decoder_and_the_whole() -> None:
    """A BART file that names the causal class is its decoder alone; without a class too."""
    whole, decoder = build(bart(), "x"), build(bart() | {"architectures": ["BartForCausalLM"]}, "x")
    bare = build({name: value for name, value in bart().items() if name != "architectures"}, "x")
    assert whole.total_params > decoder.total_params == bare.total_params


@pytest.mark.oracle
@pytest.mark.parametrize("architecture", ["MarianMTModel", "MarianForCausalLM"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [(100, 100), (100, 140)])
def test_marian_s_tables_are_those_that_it_builds(
    architecture: str, rows: tuple[int, int], *, tied: bool, shared: bool
) -> None:
    """One table for both sides or one each, tied or not, of as many rows as each side's vocabulary."""
    fields = {
        "vocab_size": rows[0], "decoder_vocab_size": rows[1], "share_encoder_decoder_embeddings": shared,
        "tie_word_embeddings": tied, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "pad_token_id": 0,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    }  # fmt: skip
    config = config_of("marian", fields)
    saved = as_json(config, architecture) | {"model_type": "marian"}
    expected = sorted(oracle(config, architecture).values())
    assert sorted(inventory(build(saved, "marian").tensors).values()) == expected
