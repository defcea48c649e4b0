"""Microsoft's text models: Phi 1 to 3, BitNet, BioGPT."""

from __future__ import annotations

from sizer.model.architecture import MlpKind, Role
from sizer.model.blocks.attention import fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.experts import MIXTRAL, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import positions
from sizer.model.shapes.rules import (
    FUSED,
    OUT_NAMES,
    UNBIASED,
    Attention,
    FusedAttention,
    Mlp,
    heads,
    switched_layer_norms,
)
from sizer.model.shapes.windows import one_window


def _bitnet_mlp(config: Config, count: int) -> list[Block]:
    inner = config.size("intermediate_size")
    return [UNBIASED.block(config, inner) + norm("mlp.ffn_sub_norm", inner)] * count


def phi3_small(config: Config) -> Parts:
    """Phi-3-small: biased fused attention and MLP between layer norms, tied unless the file says otherwise."""
    sizes, inner = heads(config), config.size("ff_intermediate_size")
    block = fused_attention(sizes, prefix="self_attn.", bias=True)
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.up_proj", 2 * inner, sizes.hidden, Role.GATE_UP, True)
    block += linear("mlp.down_proj", sizes.hidden, inner, Role.DOWN, True)
    block += norm(PRE_NORMS[0], sizes.hidden, True) + norm(PRE_NORMS[1], sizes.hidden, True)
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(final_norm="final_layernorm"),
        norm_bias=True,
        tied=config.flag("tie_word_embeddings", default=True),
    )


FAMILIES: dict[str, Family] = {
    "biogpt": Decoder(
        Attention(True, plain_heads=True, kv_field=False, names=OUT_NAMES),
        Mlp("plain", True, ("fc1", "fc2"), ""),
        ("self_attn_layer_norm", "final_layer_norm"),
        norm_bias=True,
        plus=positions("biogpt.embed_positions", 2),
        naming=Naming(prefix="biogpt.", final_norm="layer_norm", head="output_projection"),
    ),
    "bitnet": Decoder(Attention(plus=lambda _, sizes: norm("self_attn.attn_sub_norm", sizes.hidden)), _bitnet_mlp),
    "phi": Decoder(
        Attention(bias=True, names=("q_proj", "k_proj", "v_proj", "dense"), plus=switched_layer_norms),
        Mlp("plain", bias=True, names=("fc1", "fc2")),
        PRE_NORMS[:1],
        norm_bias=True,
        head_bias=True,
        naming=Naming(final_norm="final_layernorm"),
    ),
    "phi3": Decoder(FusedAttention(("qkv_proj", "o_proj"), bias=False, windows=one_window), FUSED),
    "phimoe": Decoder(
        Attention(windows=one_window),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
        norm_bias=True,
        head_bias="lm_head_bias",
    ),
    "phi3small": phi3_small,
}
