"""Random small configs of any class of the causal-LM mapping: other sizes, every boolean, tied and untied.

As a tool: `python tests/support/familyconfigs.py [-n DRAWS] MODEL_TYPE…` compares draws with transformers and prints
what differs.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from metamodels import as_json, config_of, fused, meta_model

from sizer.errors import SizerError
from sizer.model.config import class_defaults
from sizer.model.families import build, supported

# Flags that change how a model runs, not what it holds, or that transformers builds one way only.
KEPT_FLAGS = re.compile(
    "is_encoder|is_decoder|use_cache|return_dict|output_|scale_|norm_topk|pretraining|prefix_lm|use_mems"
)

# Fields that must fit together or that a random draw would leave at full size.
FIXED: dict[str, dict[str, Any]] = {
    "dbrx": {
        "attn_config": {"kv_n_heads": 1, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2},
        "tie_word_embeddings": False,
    },
    "deepseek_v4": {"o_groups": 2, "q_lora_rank": 12, "sliding_window": 16},
    "dots3_note_text": {"q_lora_rank": 8, "num_attention_heads": 4, "num_key_value_heads": 4, "sliding_window": 16},
    "gpt_neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]]},
    "moshi": {"sliding_window": 16},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["lsh", "local", "lsh"]},
    "gemma3n_text": {
        "num_hidden_layers": 7,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 3 + ["full_attention"],
    },
    "gemma4_text": {
        "num_hidden_layers": 7,
        "num_kv_shared_layers": 2,
        "global_head_dim": 24,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 3 + ["full_attention"],
    },
    "hunyuan_v1_dense": {"head_dim": 16},
    "xlm": {"is_encoder": True, "asm": False},
}


def sizes(random: Random) -> dict[str, Any]:
    """Small sizes that fit together, by every name that the classes of the mapping give them."""
    heads, size = random.choice([2, 4, 8]), random.choice([8, 16])
    layers, experts = random.choice([2, 3, 5]), random.choice([4, 6])
    pick = random.choice
    return {
        "hidden_size": heads * size, "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": pick([n for n in (1, 2, 4, 8) if heads % n == 0]), "vocab_size": pick([60, 97]),
        "intermediate_size": pick([24, 40]), "max_position_embeddings": pick([40, 64]), "head_dim": pick([8, 16]),
        "moe_intermediate_size": pick([12, 20]), "shared_expert_intermediate_size": pick([12, 28]),
        "shared_intermediate_size": pick([0, 28]), "num_experts": experts, "n_routed_experts": experts,
        "num_local_experts": experts, "moe_num_experts": experts, "num_experts_per_tok": pick([1, 2]),
        "moe_topk": pick([1, 2]), "moe_k": pick([1, 2]), "n_group": 1, "topk_group": 1,
        "n_shared_experts": pick([1, 2]), "num_shared_experts": pick([1, 2]), "first_k_dense_replace": pick([0, 1, 2]),
        "kv_lora_rank": 12, "q_lora_rank": pick([10, 14, 20, None]), "qk_rope_head_dim": pick([4, 8]),
        "qk_nope_head_dim": pick([6, 10]), "v_head_dim": pick([6, 12]), "o_lora_rank": 8, "index_topk": 16,
        "index_head_dim": 8, "index_n_heads": 4, "gated_norm_rank": 4, "sliding_window": pick([16, 24, None]),
        "max_window_layers": pick([1, 2]), "decoder_sparse_step": pick([1, 2]), "encoder_layers": layers,
        "decoder_layers": pick([2, 3]), "encoder_attention_heads": heads, "decoder_attention_heads": heads,
        "encoder_ffn_dim": 24, "decoder_ffn_dim": pick([24, 40]), "num_decoder_layers": 2, "num_encoder_layers": 2,
        "num_decoder_attention_heads": heads, "num_encoder_attention_heads": heads, "ffn_dim": pick([24, 40]),
        "type_vocab_size": pick([1, 2]), "embedding_size": pick([heads * size, 12]),
        "word_embed_proj_dim": pick([12, None]),
        "input_embedding_size": 12, "output_embedding_size": 20, "cross_attention_hidden_size": pick([None, 24]),
        "max_target_positions": pick([40, 50]), "rotary_dim": 4, "n_inner": pick([None, 40]), "dim_ff": 24,
        "dim_head": 8, "d_inner": 24, "dff": 24, "ffn_hidden_size": pick([24, 40]), "num_layers": layers,
        "expert_ffn_hidden_size": 12, "zero_expert_num": pick([0, 2]),
        "kv_channels": 8, "top_k_experts": 2, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": pick([0, 8]),
        "vocab_size_per_layer_input": 50, "laurel_rank": 4, "dense_intermediate_size": 24,
        "intermediate_size_mlp": 28, "num_attention_heads_per_layer": None,
    }  # fmt: skip


def drawn(model_type: str, random: Random) -> dict[str, Any]:
    """The fields of a small config of this class, with sizes that fit together and flags at random."""
    defaults = class_defaults(model_type)
    known = set(defaults.fields)
    fields = {
        defaults.aliases.get(name, name): value
        for name, value in sizes(random).items()
        if defaults.aliases.get(name, name) in known
    }
    for name, value in defaults.fields.items():
        if isinstance(value, bool) and not KEPT_FLAGS.search(name):
            fields[name] = random.random() < 0.5
    if random.random() < 0.5:
        fields |= patterns(model_type, random, known, fields)
    if fields.get("add_cross_attention"):
        fields["is_decoder"] = True
    if fields.get("multi_query"):
        fields["add_cross_attention"] = False
    fields |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return fields | FIXED.get(model_type, {})


# Families whose layers have kinds of their own names.
NAMED_KINDS = ("axk2", "deepseek_v32", "deepseek_v4", "glm_moe_dsa", "hy_v4", "minimax_m3_vl_text")


def patterns(model_type: str, random: Random, known: set[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Layer patterns at random, as lists, for the fields that a class knows."""
    count = fields.get("num_hidden_layers")
    if not isinstance(count, int):
        return {}
    pick = random.choice
    lists: dict[str, list[Any]] = {
        "layer_types": [pick(["sliding_attention", "full_attention"]) for _ in range(count)],
        "mlp_layer_types": [pick(["sparse", "dense"]) for _ in range(count)],
        "indexer_types": ["full"] + [pick(["full", "shared"]) for _ in range(count - 1)],
        "mlp_only_layers": pick([[], [0], [0, 1]]),
    }
    if model_type in NAMED_KINDS:
        del lists["layer_types"]
    if model_type == "deepseek_v4":
        return {"compress_ratios": [pick([0, 4, 128]) for _ in range(count + 1)]}
    chosen = {name: value for name, value in lists.items() if name in known}
    return chosen | ({"sliding_window": 16} if "layer_types" in chosen and "sliding_window" in known else {})


class Refused(Exception):
    """transformers does not build this draw."""


def difference(model_type: str, architecture: str, fields: dict[str, Any]) -> str:
    """How our inventory differs from transformers' (empty: it does not); Refused where transformers builds nothing.

    The config is read as people write it and as transformers saves it. Parameter counts are compared as a multiset,
    gate and up of an expert stack as one; Linear classes by name.
    """
    try:
        config = config_of(model_type, fields)
        saved = as_json(config, architecture)
        model = meta_model(config, architecture)
    except Exception as error:
        raise Refused(" ".join(str(error).split())[:200]) from error
    whole = {**fields, "model_type": model_type, "architectures": [architecture]}
    try:
        built, again = build(whole, model_type), build(saved, model_type)
    except SizerError as error:
        return f"refused: {error}"
    tensors = built.tensors
    if (built.total_params, built.layers) != (again.total_params, again.layers):
        return f"the config that transformers saves reads differently: {again.total_params}, not {built.total_params}"
    named = [(name, tuple(weight.shape)) for name, weight in model.named_parameters()]
    ours = [
        (tensor.name.replace("{layer}", str(layer)), tensor.shape)
        for tensor in tensors
        if not tensor.checkpoint_only
        for layer in (tensor.layers or (0,))
    ]
    theirs, listed = _biases_joined(fused(named)), _biases_joined(fused(ours))
    if Counter(theirs.values()) != Counter(listed.values()):
        missing = {name: size for name, size in theirs.items() if listed.get(name) != size}
        extra = {name: size for name, size in listed.items() if theirs.get(name) != size}
        return f"transformers has {missing}, the family {extra}"
    return _modules(model, tensors)


def _biases_joined(counts: dict[str, int]) -> dict[str, int]:
    """The gate and up biases of an expert stack as one, as the weights are; nothing for tensors without elements."""
    joined: dict[str, int] = {}
    for name, count in counts.items():
        key = re.sub(r"experts\.(gate|up)_proj\.bias$", "experts.gate_up_proj_bias", name)
        if count:
            joined[key] = joined.get(key, 0) + count
    return joined


def _modules(model: Any, tensors: Any) -> str:
    """Where a tensor's `module` is not the class that owns it: quantization of nn.Linear hangs on it."""
    import torch

    owners = dict(model.named_modules())
    wrong = []
    for tensor in tensors:
        name = tensor.name.replace("{layer}", str(tensor.layers[0] if tensor.layers else 0))
        owner = owners.get(name.rpartition(".")[0])
        if owner is None or tensor.module.value not in {"linear", "linear_subclass", "conv1d"}:
            continue
        kind = "linear" if type(owner) is torch.nn.Linear else "linear_subclass"
        if type(owner).__name__ == "Conv1D":
            kind = "conv1d"
        if kind != tensor.module.value:
            wrong.append(f"{tensor.name} is {type(owner).__name__}")
    return ", ".join(wrong)


def main(arguments: list[str]) -> None:
    """Compare `-n` draws of each model_type named (none: of every flat one) with transformers."""
    count = int(arguments[1]) if arguments[:1] == ["-n"] else 10
    for row in supported():
        if row.model_type not in arguments:
            continue
        for seed in range(count):
            fields = drawn(row.model_type, Random(f"{row.model_type} {seed}"))
            try:
                found = difference(row.model_type, row.architecture, fields)
            except Refused as refusal:
                print(row.model_type, seed, "refused by transformers:", refusal)
                continue
            print(row.model_type, seed, found or "same")
            if found:
                print("   ", fields)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1:])
