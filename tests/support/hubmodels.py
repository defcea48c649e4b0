"""A small model as a hub publishes it: its config, its tensors, their number, and a GGUF file."""

from __future__ import annotations

import json

from headerfiles import LLAMA, gguf_bytes, llama_tensors

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 1, "vocab_size": 50, "num_attention_heads": 4, "num_key_value_heads": 2,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
PLAIN = {
    "model.embed_tokens.weight": (50, 64),
    "model.layers.0.self_attn.q_proj.weight": (64, 64),
    "model.layers.0.self_attn.k_proj.weight": (32, 64),
    "model.layers.0.self_attn.v_proj.weight": (32, 64),
    "model.layers.0.self_attn.o_proj.weight": (64, 64),
    "model.layers.0.mlp.gate_proj.weight": (96, 64),
    "model.layers.0.mlp.up_proj.weight": (96, 64),
    "model.layers.0.mlp.down_proj.weight": (64, 96),
    "model.layers.0.input_layernorm.weight": (64,),
    "model.layers.0.post_attention_layernorm.weight": (64,),
    "model.norm.weight": (64,),
}
TENSORS = {name: ("BF16", shape) for name, shape in PLAIN.items()}
PARAMS = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in PLAIN.values())
LLAMA_GGUF = gguf_bytes(LLAMA, llama_tensors())


def config_file(**changes: object) -> bytes:
    """A config.json with changes."""
    return json.dumps(CONFIG | changes).encode()
