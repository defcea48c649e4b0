"""OpenAI: GPT, GPT-2 (and GPT-SW3, of its shape), gpt-oss."""

from __future__ import annotations

from sizer.model.architecture import Module
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import LN, gpt2, positions
from sizer.model.shapes.rules import Attention, FusedAttention, Mlp
from sizer.model.shapes.windows import EveryNth

FAMILIES: dict[str, Family] = {
    "gpt2": gpt2(Module.CONV1D),
    "gpt-sw3": gpt2(Module.CONV1D),
    "openai-gpt": Decoder(
        FusedAttention(("c_attn", "c_proj"), "attn.", plain_heads=True, kv_field=False, module=Module.CONV1D),
        Mlp("plain", True, ("c_fc", "c_proj"), size=None, factor=4, module=Module.CONV1D),
        LN,
        norm_bias=True,
        plus=positions("transformer.positions_embed"),
        naming=Naming(prefix="transformer.", layers="h.{layer}.", embed="tokens_embed", final_norm=None),
    ),
    "gpt_oss": Decoder(
        Attention(sinks=True, windows=EveryNth(2)),
        Moe("num_local_experts", inner="intermediate_size", bias=True, router="router", router_bias=True),
    ),
}
