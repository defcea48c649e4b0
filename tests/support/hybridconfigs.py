"""Small configs of the hybrid families, drawn at random: every field that changes a shape takes several values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Fields = dict[str, Any]
Draw = Callable[[Random], Fields]

CLASSES = {
    "mamba": "MambaForCausalLM",
    "falcon_mamba": "FalconMambaForCausalLM",
    "mamba2": "Mamba2ForCausalLM",
    "jamba": "JambaForCausalLM",
    "bamba": "BambaForCausalLM",
    "falcon_h1": "FalconH1ForCausalLM",
    "granitemoehybrid": "GraniteMoeHybridForCausalLM",
    "nemotron_h": "NemotronHForCausalLM",
    "zamba": "ZambaForCausalLM",
    "zamba2": "Zamba2ForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "qwen4_exp_text": "Qwen4ExpForCausalLM",
    "olmo_hybrid": "OlmoHybridForCausalLM",
    "minimax": "MiniMaxForCausalLM",
    "kimi_linear": "KimiLinearForCausalLM",
    "bailing_hybrid": "BailingHybridForCausalLM",
    "recurrent_gemma": "RecurrentGemmaForCausalLM",
    "rwkv": "RwkvForCausalLM",
    "xlstm": "xLSTMForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "lfm2_moe": "Lfm2MoeForCausalLM",
    "lfm3": "Lfm3ForCausalLM",
    "zaya": "ZayaForCausalLM",
    "inkling_text": "InklingForCausalLM",
    "inkling2_text": "Inkling2ForCausalLM",
}


def base(draw: Random) -> Fields:
    """What every small config has."""
    fields = {"vocab_size": 99, "pad_token_id": 0, "num_hidden_layers": draw.choice([3, 4, 6])}
    return {**fields, "tie_word_embeddings": draw.random() < 0.3}


def attention(draw: Random, *, kv: Sequence[int] = (1, 2, 4)) -> Fields:
    """Attention and an MLP."""
    return base(draw) | {
        "hidden_size": 48,
        "intermediate_size": draw.choice([40, 64]),
        "num_attention_heads": 4,
        "num_key_value_heads": draw.choice(kv),
        "attention_bias": draw.random() < 0.3,
        "mlp_bias": draw.random() < 0.3,
    }


def moe(draw: Random) -> Fields:
    """Routed experts with a shared one."""
    return {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": draw.choice([16, 24]),
        "shared_expert_intermediate_size": 24,
    }


def typed(draw: Random, fields: Fields, names: Sequence[str], field: str = "layer_types") -> Fields:
    """Half of the time, a list of layer types."""
    if draw.random() < 0.5:
        fields[field] = [draw.choice(names) for _ in range(fields["num_hidden_layers"])]
    return fields


def mamba(draw: Random) -> Fields:
    """Mamba 1."""
    return base(draw) | {
        "hidden_size": draw.choice([24, 40]),
        "state_size": draw.choice([4, 7]),
        "conv_kernel": draw.choice([3, 4]),
        "expand": draw.choice([1, 2, 3]),
        "time_step_rank": draw.choice(["auto", 5]),
        "use_bias": draw.random() < 0.5,
        "use_conv_bias": draw.random() < 0.5,
    }


def mamba2(draw: Random) -> Fields:
    """Mamba 2."""
    heads, expand = draw.choice([4, 8]), draw.choice([1, 2])
    sizes = {"hidden_size": 32, "num_heads": heads, "expand": expand, "head_dim": 32 * expand // heads}
    states = {"n_groups": draw.choice([1, 2, 4]), "state_size": draw.choice([4, 7]), "conv_kernel": draw.choice([3, 4])}
    return base(draw) | sizes | states | {"use_bias": draw.random() < 0.5, "use_conv_bias": draw.random() < 0.5}


def hybrid_mamba(draw: Random) -> Fields:
    """The Mamba 2 fields of Bamba, Falcon H1 and Granite 4."""
    return {
        "mamba_n_heads": draw.choice([4, 8]),
        "mamba_d_state": draw.choice([4, 6]),
        "mamba_d_conv": draw.choice([3, 4]),
        "mamba_n_groups": draw.choice([1, 2]),
        "mamba_expand": draw.choice([1, 2]),
        "mamba_conv_bias": draw.random() < 0.5,
        "mamba_proj_bias": draw.random() < 0.5,
    }


def jamba(draw: Random) -> Fields:
    """Jamba."""
    return attention(draw) | {
        "num_experts": draw.choice([1, 4]),
        "num_experts_per_tok": 2,
        "expert_layer_period": draw.choice([2, 3]),
        "expert_layer_offset": draw.choice([0, 1]),
        "attn_layer_period": draw.choice([3, 4]),
        "attn_layer_offset": draw.choice([0, 2]),
        "mamba_d_state": 5,
        "mamba_d_conv": 3,
        "mamba_expand": draw.choice([1, 2]),
        "mamba_dt_rank": draw.choice(["auto", 3]),
    }


def bamba(draw: Random) -> Fields:
    """Bamba."""
    return attention(draw) | hybrid_mamba(draw) | {"attn_layer_indices": draw.choice([None, [1], [0, 2]])}


def falcon_h1(draw: Random) -> Fields:
    """Falcon H1."""
    more = {"mamba_d_ssm": draw.choice([None, 64]), "mamba_rms_norm": draw.random() < 0.5}
    return attention(draw) | hybrid_mamba(draw) | more | {"projectors_bias": draw.random() < 0.5}


def granite(draw: Random) -> Fields:
    """Granite 4, with old and new names of the layer types."""
    routed = {"num_local_experts": draw.choice([0, 4]), "num_experts_per_tok": 2, "shared_intermediate_size": 24}
    names = ("mamba", "attention", "linear_attention", "full_attention")
    return typed(draw, attention(draw) | hybrid_mamba(draw) | routed, names)


def nemotron(draw: Random) -> Fields:
    """Nemotron H, its layers as a pattern or as a list."""
    fields = attention(draw) | {
        "head_dim": draw.choice([8, 16]),
        "ssm_state_size": 5,
        "mamba_num_heads": draw.choice([4, 8]),
        "mamba_head_dim": 6,
        "n_groups": 2,
        "conv_kernel": 3,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 24,
        "moe_latent_size": draw.choice([None, 24]),
        "use_bias": draw.random() < 0.5,
    }
    count = fields.pop("num_hidden_layers")
    if draw.random() < 0.5:
        return fields | {"hybrid_override_pattern": "".join(["*", *(draw.choice("ME*-") for _ in range(count))])}
    names = ("mamba", "attention", "moe", "mlp", "full_attention")
    return fields | {"layers_block_type": ["attention", *(draw.choice(names) for _ in range(count))]}


def zamba(draw: Random) -> Fields:
    """Zamba; a tied one has a second hybrid layer, which transformers needs in order to tie."""
    fields = attention(draw, kv=(4,)) | {
        "n_mamba_heads": draw.choice([2, 4]),
        "mamba_d_state": 5,
        "mamba_d_conv": 3,
        "mamba_expand": draw.choice([1, 2]),
        "mamba_dt_rank": draw.choice(["auto", 3]),
    }
    rest = [draw.choice(["mamba", "hybrid"]) for _ in range(fields["num_hidden_layers"] - 2)]
    return fields | {"layers_block_type": ["hybrid", "hybrid", *rest]}


def zamba2(draw: Random) -> Fields:
    """Zamba 2."""
    fields = attention(draw, kv=(4,)) | {
        "n_mamba_heads": draw.choice([2, 4]),
        "mamba_d_state": 5,
        "mamba_d_conv": 3,
        "mamba_expand": draw.choice([1, 2]),
        "mamba_ngroups": draw.choice([1, 2]),
        "num_mem_blocks": draw.choice([1, 2]),
        "adapter_rank": 7,
        "add_bias_linear": draw.random() < 0.5,
        "use_shared_attention_adapter": draw.random() < 0.5,
    }
    rest = [draw.choice(["mamba", "hybrid"]) for _ in range(fields["num_hidden_layers"] - 2)]
    return fields | {"layers_block_type": ["mamba", "hybrid", *rest]}


def delta(draw: Random) -> Fields:
    """A gated delta net."""
    return {
        "linear_num_key_heads": draw.choice([1, 2]),
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": draw.choice([8, 16]),
        "linear_conv_kernel_dim": draw.choice([3, 4]),
    }


LINEAR = ("linear_attention", "full_attention")


def qwen_dense(draw: Random) -> Fields:
    """Qwen3.5."""
    return typed(draw, attention(draw) | delta(draw) | {"head_dim": draw.choice([8, 16])}, LINEAR)


def qwen_moe(draw: Random) -> Fields:
    """Qwen3.5 with experts."""
    return qwen_dense(draw) | moe(draw)


def qwen_next(draw: Random) -> Fields:
    """Qwen3-Next."""
    steps = {"decoder_sparse_step": draw.choice([1, 2]), "mlp_only_layers": draw.choice([[], [0, 3]])}
    return qwen_moe(draw) | steps | {"full_attention_interval": draw.choice([2, 4])}


def qwen4(draw: Random) -> Fields:
    """Qwen4-Exp."""
    fields = attention(draw) | delta(draw) | moe(draw) | {"head_dim": 16, "eos_token_id": 2}
    indexer = {"n_heads": 2, "kv_heads": 1, "head_dim": 16, "budget": 64, "compress_ratio": 4}
    return fields | {
        **{f"indexer_{name}": value for name, value in indexer.items()},
        "hc_count": draw.choice([2, 3]),
        "hc_lowrank": 7,
        "ple_layer_ids": draw.choice([None, [1], [1, 3]]),
        "ple_embed_dim": draw.choice([None, 16]),
        "ple_conv_kernel_size": 3,
        "ngram_vocab_size_base": draw.choice([100, 1009]),
        "heads_per_ngram": 2,
    }


def olmo(draw: Random) -> Fields:
    """OLMo hybrid, its delta net's sizes given or not."""
    fields = attention(draw) | (delta(draw) if draw.random() < 0.5 else {})
    return fields | {"layer_types": ["linear_attention", *["full_attention"] * (fields["num_hidden_layers"] - 1)]}


def minimax(draw: Random) -> Fields:
    """MiniMax-01."""
    sizes = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": draw.choice([None, 16])}
    return typed(draw, attention(draw) | sizes, LINEAR)


def latent(draw: Random) -> Fields:
    """Latent attention and experts of Kimi Linear and Bailing hybrid."""
    return attention(draw, kv=(4,)) | {
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "num_experts": 4,
        "num_experts_per_token": 2,
        "num_shared_experts": draw.choice([1, 2]),
        "moe_intermediate_size": 16,
        "first_k_dense_replace": draw.choice([0, 1, 2]),
    }


def kimi(draw: Random) -> Fields:
    """Kimi Linear, its layers by list or by default."""
    fields = latent(draw) | {"q_lora_rank": draw.choice([None, 8])}
    if draw.random() < 0.5:
        numbers = range(1, fields["num_hidden_layers"] + 1)
        full = [number for number in numbers if draw.random() < 0.4]
        fields["linear_attn_config"] = {
            "full_attn_layers": full,
            "kda_layers": [number for number in numbers if number not in full],
            "head_dim": draw.choice([8, 16]),
            "num_heads": 3,
            "short_conv_kernel_size": 4,
        }
    return fields


def bailing(draw: Random) -> Fields:
    """Bailing hybrid."""
    sizes = {"head_dim": draw.choice([8, 16]), "short_conv_kernel_size": 3, "layer_group_size": draw.choice([2, 3])}
    return latent(draw) | sizes | {"n_group": 1, "topk_group": 1}


def recurrent_gemma(draw: Random) -> Fields:
    """RecurrentGemma."""
    return attention(draw) | {
        "lru_width": draw.choice([None, 64]),
        "conv1d_width": draw.choice([3, 4]),
        "block_types": draw.choice([["recurrent", "recurrent", "attention"], ["attention", "recurrent"]]),
        "attention_window_size": 33,
    }


def rwkv(draw: Random) -> Fields:
    """RWKV-4."""
    return base(draw) | {"hidden_size": 48, "intermediate_size": draw.choice([None, 77])}


def xlstm(draw: Random) -> Fields:
    """xLSTM."""
    return base(draw) | {
        "hidden_size": 128,
        "num_heads": 4,
        "weight_mode": draw.choice(["single", "fused"]),
        "ffn_proj_factor": draw.choice([2.667, 2.0]),
        "qk_dim_factor": draw.choice([0.5, 1.0]),
        "use_bias": draw.random() < 0.5,
    }


def lfm2(draw: Random) -> Fields:
    """LFM2, its layers by index, by type or by default."""
    fields = attention(draw) | {
        "conv_L_cache": draw.choice([3, 4]),
        "block_multiple_of": draw.choice([8, 16]),
        "block_ffn_dim_multiplier": draw.choice([1.0, 1.3]),
        "block_auto_adjust_ff_dim": draw.random() < 0.7,
        "conv_bias": draw.random() < 0.5,
    }
    if draw.random() < 0.4:
        return fields | {"full_attn_idxs": [0, 2]}
    if draw.random() < 0.4:
        fields |= {"block_ff_dim": 80, "tie_embedding": draw.random() < 0.5}
    return typed(draw, fields, ("conv", "full_attention"))


def lfm2_moe(draw: Random) -> Fields:
    """LFM2 MoE."""
    fields = attention(draw) | moe(draw) | {"num_dense_layers": draw.choice([0, 2])}
    kinds = ["conv", *(draw.choice(["conv", "full_attention"]) for _ in range(fields["num_hidden_layers"] - 1))]
    return fields | {"layer_types": kinds}


def lfm3(draw: Random) -> Fields:
    """LFM3."""
    fields = attention(draw) | {
        "conv_L_cache": draw.choice([3, 4]),
        "head_dim": draw.choice([8, 16]),
        "use_sandwich_norm": draw.random() < 0.5,
        "use_attention_gate": draw.random() < 0.5,
    }
    return typed(draw, fields, ("conv", "full_attention", "sliding_attention"))


def zaya(draw: Random) -> Fields:
    """Zaya."""
    fields = attention(draw) | {
        "head_dim": draw.choice([8, 16]),
        "num_experts": 4,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "router_hidden_size": 9,
        "cca_time0": draw.choice([2, 3]),
        "cca_time1": draw.choice([2, 3]),
        "sliding_window": 16,
        "lm_head_bias": draw.random() < 0.5,
    }
    return typed(draw, fields, ("hybrid", "hybrid_sliding"))


def inkling2(draw: Random) -> Fields:
    """Inkling 2."""
    sliding = {"swa_num_attention_heads": 6, "swa_num_key_value_heads": 3, "swa_head_dim": 16}
    fields = attention(draw) | sliding | {
        "head_dim": 8,
        "sliding_window_size": 33,
        "d_rel": 5,
        "rel_extent": 20,
        "conv_kernel_size": draw.choice([3, 4]),
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    }  # fmt: skip
    del fields["intermediate_size"]
    return typed(draw, fields, ("hybrid", "hybrid_sliding"))


def inkling(draw: Random) -> Fields:
    """Inkling, with the names of its first files half of the time."""
    fields = inkling2(draw) | {"intermediate_size": 40, "n_shared_experts": draw.choice([1, 2])}
    fields |= {"dense_mlp_idx": draw.choice([0, 2])} | ({"dense_intermediate_size": 56} if draw.random() < 0.5 else {})
    return fields


DRAWS: dict[str, Draw] = {
    "mamba": mamba,
    "falcon_mamba": mamba,
    "mamba2": mamba2,
    "jamba": jamba,
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granite,
    "nemotron_h": nemotron,
    "zamba": zamba,
    "zamba2": zamba2,
    "qwen3_next": qwen_next,
    "qwen3_5_text": qwen_dense,
    "qwen3_5_moe_text": qwen_moe,
    "qwen4_exp_text": qwen4,
    "olmo_hybrid": olmo,
    "minimax": minimax,
    "kimi_linear": kimi,
    "bailing_hybrid": bailing,
    "recurrent_gemma": recurrent_gemma,
    "rwkv": rwkv,
    "xlstm": xlstm,
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "lfm3": lfm3,
    "zaya": zaya,
    "inkling_text": inkling,
    "inkling2_text": inkling2,
}
