"""EleutherAI's GPT-Neo, GPT-J and GPT-NeoX, and what others built on them: CodeGen, GPT-NeoX Japanese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MixerKind, Role
from sizer.model.blocks.core import Parts, parameter
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import GPT_NAMING, LN, positions
from sizer.model.shapes.rules import OUT_NAMES, Attention, FusedAttention, LayerRule, Mlp
from sizer.model.shapes.windows import FULL, Window


def _gpt_neo_windows(config: Config, count: int) -> Sequence[Window]:
    """GPT-Neo: `attention_types` lists patterns of global and local layers with how often each repeats."""
    kinds: list[str] = []
    for entry in config.sequence("attention_types", list) or ([["global", "local"], 12],):
        one = Config({"kinds": entry[0], "times": entry[1]} if len(entry) == 2 else {}, path="attention_types.")
        kinds += (one.sequence("kinds", str) or ()) * one.size("times", maximum=MAX_LAYERS)
        if len(kinds) > count:
            break
    if len(kinds) != count or set(kinds) - {"global", "local"}:
        raise config.error("attention_types", f"It must name global or local for each of {count} layers.")
    window = (MixerKind.SLIDING, config.size("window_size", default=256))
    return [window if kind == "local" else FULL for kind in kinds]


def gpt_neox_japanese(config: Config) -> Parts:
    """GPT-NeoX Japanese: no biases but one, of the last layer's output projection."""
    times = config.size("intermediate_multiple_size", default=4)
    parts = Decoder(
        FusedAttention(prefix="attention.", bias=False, plain_heads=True, kv_field=False),
        Mlp("plain", False, ("dense_h_to_4h", "dense_4h_to_h"), size=None, factor=times),
        norm_bias=True,
        naming=Naming(prefix="gpt_neox_japanese.", embed="embed_in", final_norm="final_layer_norm", head="embed_out"),
    )(config)
    last = len(parts.layers) - 1
    bias = parameter(f"gpt_neox_japanese.layers.{last}.attention.dense_bias", parts.hidden_size, role=Role.BIAS).tensors
    return replace(parts, tensors=parts.tensors + bias)


NEOX_MLP = Mlp("plain", True, ("dense_h_to_4h", "dense_4h_to_h"))


def _gptj(attention: LayerRule) -> Decoder:
    """GPT-J and CodeGen, which differ in how they store attention."""
    return Decoder(
        attention,
        Mlp("plain", True, ("fc_in", "fc_out"), size="n_inner", factor=4),
        LN[:1],
        norm_bias=True,
        head_bias=True,
        naming=GPT_NAMING,
    )


FAMILIES: dict[str, Family] = {
    "gpt_neo": Decoder(
        Attention(
            False,
            True,
            plain_heads=True,
            kv_field=False,
            prefix="attn.attention.",
            names=OUT_NAMES,
            windows=_gpt_neo_windows,
        ),
        Mlp("plain", True, ("c_fc", "c_proj"), factor=4),
        LN,
        norm_bias=True,
        plus=positions("transformer.wpe"),
        naming=GPT_NAMING,
    ),
    "gpt_neox": Decoder(
        FusedAttention(prefix="attention.", bias="attention_bias", plain_heads=True, kv_field=False),
        NEOX_MLP,
        norm_bias=True,
        naming=Naming(prefix="gpt_neox.", embed="embed_in", final_norm="final_layer_norm"),
    ),
    "gpt_neox_japanese": gpt_neox_japanese,
    "gptj": _gptj(Attention(False, plain_heads=True, kv_field=False, prefix="attn.", names=OUT_NAMES)),
    "codegen": _gptj(FusedAttention(("qkv_proj", "out_proj"), "attn.", False, plain_heads=True, kv_field=False)),
}
