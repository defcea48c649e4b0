"""LG AI: EXAONE 3 and 4, with experts and with eyes."""

from __future__ import annotations

from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Parts, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import Config
from sizer.model.shapes.decoder import POST_NORMS, Decoder, causal_lm
from sizer.model.shapes.experts import FirstDense, Moe
from sizer.model.shapes.family import Family, with_names
from sizer.model.shapes.gpt2 import GPT_NAMING
from sizer.model.shapes.rules import UNBIASED, Attention, heads
from sizer.model.shapes.windows import EveryNth
from sizer.model.shapes.wrapper import VISUAL, Wrapper


def exaone(config: Config) -> Parts:
    """EXAONE 3, 3.5 and Deep: Llama under GPT-2's names."""
    sizes = heads(config)
    block = attention(
        sizes,
        prefix="attn.attention.", names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )  # fmt: skip
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), names=("c_fc_0", "c_fc_1", "c_proj"))
    block += norm("ln_1", sizes.hidden) + norm("ln_2", sizes.hidden)
    return causal_lm(
        config,
        [block] * config.layers(),
        GPT_NAMING,
    )


FAMILIES: dict[str, Family] = {
    "exaone4": Decoder(
        Attention(bias=False, qk_norm="head", windows=EveryNth(4, "sliding_window_pattern")), UNBIASED, POST_NORMS
    ),
    "exaone_moe": Decoder(
        Attention(bias=False, qk_norm="head", windows=EveryNth(4, "sliding_window_pattern")),
        Moe(sparse=FirstDense(first=1), shared=("moe_intermediate_size", "num_shared_experts")),
    ),
    "exaone4_5": Wrapper(towers=VISUAL),
    "exaone": with_names(exaone, {"num_hidden_layers": "num_layers"}),
}
