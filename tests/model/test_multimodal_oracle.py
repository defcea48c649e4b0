"""Multimodal classes against transformers on the meta device: default and drawn configs, name by name."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from metamodels import as_json, config_of, inventory, oracle

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


def classes() -> list[tuple[str, str]]:
    """Model types and their classes."""
    with (DATA / "classes.csv").open(encoding="utf-8", newline="") as lines:
        return [(row["model_type"], row["architecture"]) for row in csv.DictReader(lines)]


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


TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = TEXT | {"intermediate_size": 96, "vocab_size": 160000, "head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}

# Files as people write them: other text models and towers than the class's own, partial and flat configs.
WRITTEN: list[tuple[str, str, dict[str, Any]]] = [
    (
        "mistral_large4",
        "MistralLarge4ForConditionalGeneration",
        {
            "text_config": {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "n_routed_experts": 4}
            | {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "intermediate_size": 96, "vocab_size": 100}
            | {"no_rope_layers": [1, 0, 1, 0, 1, 0], "kv_source_layers": [0, 1, 0, 1, 4, 4], "attention_bias": True}
            | {"indexer_types": ["full", "full", "shared", "full", "shared", "full"]},
            "vision_config": {"model_type": "pixtral"} | TOWER,
        },
    ),
    (
        "deepseek_ocr2",
        "DeepseekOcr2ForConditionalGeneration",
        {
            "text_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "n_routed_experts": 4}
            | {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "mlp_layer_types": ["dense", "sparse"]}
            | {"attention_bias": True, "mlp_bias": True, "intermediate_size": 40, "n_group": 1, "topk_group": 1},
            "vision_config": {
                "sam_config": {"num_hidden_layers": 3, "hidden_size": 48, "num_attention_heads": 4},
                "encoder_config": TOWER | {"num_key_value_heads": 2},
            },
        },
    ),
    (
        "chameleon",
        "ChameleonForConditionalGeneration",
        SMALL
        | {"vocab_size": 100, "attention_bias": True, "mlp_bias": True, "vocabulary_map": {"<image>": 5}}
        | {"vq_config": {"attn_resolutions": [32, 64], "base_channels": 32, "double_latent": True}},
    ),
    (
        "granite4_vision",
        "Granite4VisionForConditionalGeneration",
        {
            "text_config": SMALL,
            "vision_config": {"model_type": "siglip_vision_model"} | TOWER | {"hidden_size": 128},
            "qformer_config": {"model_type": "blip_2_qformer", "num_hidden_layers": 2, "intermediate_size": 48},
            "downsample_rate": "3/8",
            "deepstack_layer_map": [[-4, 0], [-2, 1]],
        },
    ),
    (
        "idefics",
        "IdeficsForVisionText2Text",
        {
            "hidden_size": 64,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "intermediate_size": 96,
            "vocab_size": 100,
        }
        | {"use_resampler": True, "cross_layer_interval": 2, "qk_layer_norms": True, "additional_vocab_size": 2}
        | {"perceiver_config": {"qk_layer_norms_perceiver": True, "resampler_depth": 2}}
        | {"vision_config": {"embed_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4}},
    ),
    (
        "muse_spark",
        "MuseSparkForConditionalGeneration",
        {
            "text_config": SMALL
            | {"hidden_size": 64, "mlp_layer_types": ["dense", "sparse"], "num_local_experts": 4}
            | {"moe_hidden_size": 32, "moe_intermediate_size": 24, "num_experts_per_tok": 2},
            "vision_config": TOWER,
            "audio_config": {"patch_sizes": [16, 6], "hidden_sizes": [24, 40], "depths": [1, 3], "num_hidden_layers": 2}
            | {"out_hidden_size": 64},
        },
    ),
    (
        "inkling_mm_model",
        "InklingForConditionalGeneration",
        {
            "text_config": {"hidden_size": 64, "num_hidden_layers": 2, "n_routed_experts": 4},
            "vision_config": {"num_hidden_layers": 3, "patch_size": 12, "text_hidden_size": 99},
            "audio_config": {"n_mel_bins": 8},
        },
    ),
    (
        "llava",
        "LlavaForConditionalGeneration",
        {
            "text_config": {"model_type": "qwen2", "tie_word_embeddings": True} | SMALL,
            "vision_config": {"model_type": "siglip_vision_model"} | TOWER,
            "vision_feature_layer": [-2, -3],
        },
    ),
    (
        "internvl",
        "InternVLForConditionalGeneration",
        {
            "text_config": {"model_type": "qwen3_moe"} | SMALL | EXPERTS,
            "vision_config": {"image_size": [28, 56], "use_qk_norm": True, "norm_type": "rms_norm"} | TOWER,
            "tie_word_embeddings": False,
        },
    ),
    (
        "mistral3",
        "Mistral3ForConditionalGeneration",
        {"text_config": {"model_type": "ministral3"} | SMALL, "vision_config": {"model_type": "pixtral"} | TOWER},
    ),
    (
        "qwen2_5_vl",
        "Qwen2_5_VLForConditionalGeneration",
        SMALL | {"tie_word_embeddings": True, "vision_config": {"depth": 2, "hidden_size": 32, "out_hidden_size": 64}},
    ),
    (
        "gemma4",
        "Gemma4ForConditionalGeneration",
        {
            "text_config": SMALL | {"num_kv_shared_layers": 0},
            "vision_config": {"num_hidden_layers": 2, "standardize": True},
            "audio_config": {"num_hidden_layers": 2, "subsampling_conv_channels": [16, 8]},
        },
    ),
    (
        "aya_vision",
        "AyaVisionForConditionalGeneration",
        {
            "text_config": {"model_type": "cohere2"} | SMALL,
            "vision_config": {"model_type": "siglip_vision_model"} | TOWER,
            "alignment_intermediate_size": 88,
        },
    ),
    (
        "step3p7",
        "Step3p7ForConditionalGeneration",
        {
            "text_config": SMALL
            | {"layer_types": ["sliding_attention", "full_attention"], "moe_layers_enum": "1", "sliding_window": 8}
            | {"attention_other_setting": {"num_attention_heads": 6}, "n_routed_experts": 4, "num_experts_per_tok": 2}
            | {"moe_intermediate_size": 24, "share_expert_dim": 40},
            "vision_config": {"layers": 2, "width": 32, "heads": 4},
        },
    ),
    (
        "hunyuan_vl",
        "HunYuanVLForConditionalGeneration",
        SMALL | {"tie_word_embeddings": False, "vision_config": TOWER | {"max_image_size": 256}},
    ),
    (
        "granite_docling",
        "GraniteDoclingForConditionalGeneration",
        {
            "text_config": {"hidden_size": 64, "num_hidden_layers": 2},
            "vision_config": {"out_hidden_size": 64, "deepstack_visual_indexes": [1]},
            "density_router_hidden_size": 24,
        },
    ),
    (
        "glm5_next",
        "Glm5NextForConditionalGeneration",
        {
            "text_config": {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 2 + ["linear_attention"]}
            | {"mlp_layer_types": ["sparse", "dense", "sparse"], "index_topk_pattern": "FSF", "hc_mult": 3}
            | {"linear_attn_config": {"head_dim": 24, "num_heads": 5, "short_conv_kernel_size": 3}},
            "vision_config": TOWER | {"projection_intermediate_size": 72},
        },
    ),
    (
        "qwen2_5_omni",
        "Qwen2_5OmniForConditionalGeneration",
        {
            "thinker_config": {"tie_word_embeddings": True, "text_config": SMALL},
            "talker_config": {"hidden_size": 48, "embedding_size": 64, "num_hidden_layers": 2, "head_dim": 20},
            "token2wav_config": {
                "dit_config": {"hidden_size": 32, "num_hidden_layers": 2, "head_dim": 10, "mel_dim": 40}
                | {"enc_channels": [32, 48, 24], "enc_kernel_sizes": [5, 3, 1], "enc_dilations": [1, 2, 1]},
                "bigvgan_config": {"mel_dim": 40, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4]}
                | {"upsample_initial_channel": 96, "resblock_kernel_sizes": [3, 5]}
                | {"resblock_dilation_sizes": [[1, 3, 5], [1, 2, 4]]},
            },
        },
    ),
    (
        "qwen3_omni_moe",
        "Qwen3OmniMoeForConditionalGeneration",
        {
            "thinker_config": {"text_config": SMALL | EXPERTS},
            "talker_config": {
                "thinker_hidden_size": 64,
                "spatial_merge_size": 2,
                "text_config": SMALL | EXPERTS | {"shared_expert_intermediate_size": 40, "attention_bias": True},
                "code_predictor_config": SMALL | {"num_code_groups": 5},
            },
            "code2wav_config": TEXT
            | {"intermediate_size": 96, "codebook_size": 50, "num_quantizers": 3, "upsampling_ratios": [2, 3]}
            | {"upsample_rates": [4, 3], "decoder_dim": 48},
        },
    ),
    ("qwen2_5_omni", "Qwen2_5OmniForConditionalGeneration", {"enable_audio_output": False}),
    ("voxtral", "VoxtralForConditionalGeneration", {"text_config": {"num_hidden_layers": 2, "hidden_size": 64}}),
    (
        "molmo2",
        "Molmo2ForConditionalGeneration",
        {
            "vit_config": {"num_hidden_layers": 5, "hidden_size": 1152},
            "adapter_config": {"vit_layers": [-2, 2]},
            "text_config": SMALL | {"qk_norm_type": "olmo"},
        },
    ),
    (
        "dots3_note",
        "Dots3NoteForConditionalGeneration",
        {
            "text_config": {"num_hidden_layers": 2},
            "vision_config": {"num_hidden_layers": 3, "pyramid_num_routed": [-1, 4, 8]},
            "audio_config": {"num_hidden_layers": 2},
        },
    ),
    (
        "qwen3_5_moe",
        "Qwen3_5MoeForCausalLM",
        {"text_config": SMALL | EXPERTS | {"shared_expert_intermediate_size": 24}},
    ),
]


@pytest.mark.parametrize(("model_type", "architecture", "fields"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_written_config_lists_every_parameter(model_type: str, architecture: str, fields: dict[str, Any]) -> None:
    """A file as people write it lists the parameters that transformers builds from it."""
    config = config_of(model_type, fields)
    text_alone = architecture.endswith("ForCausalLM")
    expected = oracle(config.get_text_config() if text_alone else config, architecture)
    counts = inventory(build(fields | {"model_type": model_type, "architectures": [architecture]}, model_type).tensors)
    assert sorted(counts.values()) == sorted(expected.values())


@pytest.mark.parametrize(("model_type", "architecture"), classes())
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
