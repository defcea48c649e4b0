"""SK Telecom: A.X K1 and K2."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.experts import FINE_GRAINED, FirstDense
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import Mla, indexed_layers


def axk2(config: Config) -> Parts:
    """A.X-K2: sparse latent attention whose query projection also makes the output gate; low-rank gated norms."""
    count, hidden, rank = config.layers(), config.size("hidden_size"), config.size("gated_norm_rank")
    heads, q_rank = config.size("num_attention_heads"), config.size("q_lora_rank")
    plain = Mla().block(config)
    width = heads * (plain.mixers[0].qk_head_dim + plain.mixers[0].v_head_dim)
    gate = linear("self_attn.q_gate_proj", width, 2 * q_rank, Role.Q_B)
    attention = Block(tuple(t for t in plain.tensors if t.role is not Role.Q_B), plain.mixers) + gate

    def gated_norm(name: str) -> Block:
        return (
            norm(f"{name}.norm", hidden)
            + linear(f"{name}.mlp.fc1", rank, hidden, Role.OTHER)
            + linear(f"{name}.mlp.fc2", hidden, rank, Role.OTHER)
        )

    moe = replace(FINE_GRAINED, sparse=FirstDense(first=1, every="moe_layer_freq"))
    sparse = moe.sparse(config, count)
    experts_norm, dense_norm = gated_norm(PRE_NORMS[1]), norm(PRE_NORMS[1], hidden)
    blocks = joined(
        indexed_layers(config, attention, (False,) * count),
        moe(config, count),
        (gated_norm(PRE_NORMS[0]),) * count,
        [experts_norm if is_sparse else dense_norm for is_sparse in sparse],
    )
    return causal_lm(config, blocks)


FAMILIES: dict[str, Family] = {
    "axk1": Decoder(
        Mla(),
        replace(
            FINE_GRAINED,
            sparse=FirstDense(first=1, every="moe_layer_freq"),
            plus=lambda config, _: norm("mlp.post_mlp_layernorm", config.size("hidden_size")),
        ),
    ),
    "axk2": axk2,
}
