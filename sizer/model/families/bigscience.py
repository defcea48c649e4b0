"""BigScience and BigCode: BLOOM, GPT-BigCode (StarCoder), StarCoder 2."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Module
from sizer.model.blocks.core import Parts, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import gpt2
from sizer.model.shapes.rules import Attention, FusedAttention, Mlp
from sizer.model.shapes.windows import one_window


def gpt_bigcode(config: Config) -> Parts:
    """GPT-BigCode: GPT-2 of linear modules; with `multi_query`, one key and value head for all."""
    multi_query = config.flag("multi_query")
    if multi_query and config.flag("add_cross_attention"):
        raise config.error("add_cross_attention", "It cannot go with multi_query.")
    decoder = gpt2(Module.LINEAR)
    attention = replace(decoder.attention, kv_heads=lambda _, count: 1 if multi_query else count)  # type: ignore[type-var]
    return replace(decoder, attention=attention)(config)


FAMILIES: dict[str, Family] = {
    "gpt_bigcode": gpt_bigcode,
    "bloom": Decoder(
        FusedAttention(prefix="self_attention.", plain_heads=True, kv_field=False),
        Mlp("plain", True, ("dense_h_to_4h", "dense_4h_to_h"), size=None, factor=4),
        norm_bias=True,
        plus=lambda config: norm("transformer.word_embeddings_layernorm", config.size("hidden_size"), True),
        naming=Naming(prefix="transformer.", layers="h.{layer}.", embed="word_embeddings", final_norm="ln_f"),
    ),
    "starcoder2": Decoder(
        Attention(bias="use_bias", windows=one_window),
        Mlp("plain", bias="use_bias", names=("c_fc", "c_proj")),
        norm_bias=True,
    ),
}
