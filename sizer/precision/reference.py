"""The usual model whose bits per weight stand for a precision's: in lists, and for models known by their name alone."""

from __future__ import annotations

from functools import lru_cache

from sizer.model.architecture import (
    Architecture,
    Basis,
    Layer,
    Mixer,
    MixerKind,
    MlpKind,
    Module,
    Role,
    Tensor,
)

# The shape of Llama-3-8B (its published config.json): what llama.cpp's own tables of bits per weight are for.
HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, LAYERS = 4096, 14336, 32, 8, 128, 128256, 32


@lru_cache(maxsize=1)
def reference_architecture() -> Architecture:
    """Llama-3-8B."""
    every = tuple(range(LAYERS))
    layer = "model.layers.{layer}."

    def linear(name: str, out: int, into: int, role: Role) -> Tensor:
        return Tensor(f"{layer}{name}.weight", (out, into), role, Module.LINEAR, every)

    def norm(name: str, layers: tuple[int, ...]) -> Tensor:
        return Tensor(f"{name}.weight", (HIDDEN,), Role.NORM, Module.NORM, layers)

    tensors = (
        Tensor("model.embed_tokens.weight", (VOCABULARY, HIDDEN), Role.EMBEDDING, Module.EMBEDDING),
        linear("self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN, Role.Q),
        linear("self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN, Role.K),
        linear("self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN, Role.V),
        linear("self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM, Role.O),
        linear("mlp.gate_proj", INNER, HIDDEN, Role.GATE),
        linear("mlp.up_proj", INNER, HIDDEN, Role.UP),
        linear("mlp.down_proj", HIDDEN, INNER, Role.DOWN),
        norm(f"{layer}input_layernorm", every),
        norm(f"{layer}post_attention_layernorm", every),
        norm("model.norm", ()),
        Tensor("lm_head.weight", (VOCABULARY, HIDDEN), Role.LM_HEAD, Module.LINEAR),
    )
    mixer = Mixer(MixerKind.FULL, HEADS, KV_HEADS, HEAD_DIM, HEAD_DIM)
    return Architecture(
        model_id="meta-llama/Meta-Llama-3-8B",
        architecture="LlamaForCausalLM",
        model_type="llama",
        basis=Basis.CONFIG,
        tensors=tensors,
        layers=tuple(Layer(index, (mixer,), MlpKind.DENSE) for index in every),
        hidden_size=HIDDEN,
        vocab_size=VOCABULARY,
        max_context_tokens=8192,
        tied_embeddings=False,
        dtype="bfloat16",
        config={"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS},
    )
