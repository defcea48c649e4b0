"""Shanghai AI Laboratory: InternLM 1 to 3, InternVL."""

from __future__ import annotations

from sizer.model.architecture import Tower
from sizer.model.blocks.attention import fused_attention
from sizer.model.blocks.core import Parts, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.towers.vit import intern_vit
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import shuffled_pixels, with_towers
from sizer.model.shapes.decoder import Decoder, Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention, heads
from sizer.model.shapes.wrapper import Wrapper


def internlm2(config: Config) -> Parts:
    """InternLM 2 and 2.5: fused attention, Llama's MLP under the names of Meta's code."""
    sizes, bias = heads(config), config.flag("bias")
    block = fused_attention(sizes, names=("wqkv", "wo"), bias=bias)
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), prefix="feed_forward.", names=("w1", "w3", "w2"))
    block += norm("attention_norm", sizes.hidden) + norm("ffn_norm", sizes.hidden)
    return causal_lm(config, [block] * config.layers(), Naming(embed="tok_embeddings", head="output"))


def internvl_chat(config: Config) -> Parts:
    """InternVL 1.5 to 3.5: InternViT, pixel shuffle, two linear layers, any text model."""
    text, vision = config.sub("llm_config"), config.sub("vision_config")
    parts = describe(text, text.text("model_type"))
    tower, joint = Tree("vision_model."), Tree("mlp1.", tower=Tower.PROJECTOR)
    intern_vit(vision, tower)
    merged = int(vision.size("hidden_size") / config.ratio("downsample_ratio", default=0.5) ** 2)
    joint.layer_norm("0", size=merged)
    joint.linear("1", parts.hidden_size, merged, bias=True)
    joint.linear("3", parts.hidden_size, parts.hidden_size, bias=True)
    return with_towers(parts, tower, joint, prefix="language_model.")


FAMILIES: dict[str, Family] = {
    "internlm3": Decoder(),
    "internvl": Wrapper(shuffled_pixels),
    "internlm": Decoder(Attention(bias="bias"), UNBIASED),
    "internlm2": internlm2,
    "internvl_chat": internvl_chat,
}
