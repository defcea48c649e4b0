"""Arcee: AFM dense and with experts."""

from __future__ import annotations

from sizer.model.shapes.decoder import PRE_NORMS, Decoder
from sizer.model.shapes.experts import FirstDense, Moe, each_expert
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import PLAIN, Attention, output_gate
from sizer.model.shapes.windows import EveryNth

FAMILIES: dict[str, Family] = {
    "arcee": Decoder(mlp=PLAIN),
    "afmoe": Decoder(
        Attention(qk_norm="head", windows=EveryNth(4, "global_attn_every_n_layers"), plus=output_gate),
        Moe(
            sparse=FirstDense("num_dense_layers", typed=False),
            shared=("moe_intermediate_size", "num_shared_experts"),
            router="router.gate",
            router_linear=True,
            plus=each_expert("mlp.expert_bias"),
        ),
        (*PRE_NORMS, "pre_mlp_layernorm", "post_mlp_layernorm"),
    ),
}
