"""Multimodal files as people write them: text models and towers beside the class's own, partial and flat configs."""

from __future__ import annotations

from random import Random
from typing import Any

from hybridconfigs import qwen4

TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = TEXT | {"intermediate_size": 96, "vocab_size": 160000, "head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}

WATCHING = {"hidden_size": 32, "depth": 2, "num_heads": 4, "intermediate_size": 40, "out_hidden_size": 64}

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
    ("emu3", "Emu3ForCausalLM", {"text_config": SMALL}),
    ("shieldgemma2", "ShieldGemma2ForImageClassification", {}),
    (
        "gemma4_unified_assistant",
        "Gemma4UnifiedAssistantForCausalLM",
        {
            "text_config": SMALL
            | {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4}
            | {"num_kv_shared_layers": 2, "global_head_dim": 16, "hidden_size_per_layer_input": 0},
            "backbone_hidden_size": 96,
        },
    ),
    *(
        ("qwen4_exp", f"Qwen4ExpFor{kind}", {"text_config": qwen4(Random(kind)), "vision_config": WATCHING})
        for kind in ("ConditionalGeneration", "CausalLM")
    ),
]
