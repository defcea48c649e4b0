"""GPT-2's shape: learned positions, LayerNorms with biases, fused projections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.attention import Heads
from sizer.model.blocks.core import Block, embedding, linear, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.rules import FusedAttention, Mlp

LN = ("ln_1", "ln_2")
GPT_NAMING = Naming(prefix="transformer.", layers="h.{layer}.", embed="wte", final_norm="ln_f")
"""Where GPT-2's tensors stand, and those of models that its code was the start of."""


def positions(name: str, offset: int = 0) -> Callable[[Config], Block]:
    """A learned position table of `max_position_embeddings` rows and `offset` more."""
    return lambda config: embedding(
        name, config.size("max_position_embeddings") + offset, config.size("hidden_size"), Role.POSITION
    )


def _cross_attention(config: Config, sizes: Heads, module: Module) -> Block:
    """GPT-2's cross-attention, if `add_cross_attention`: keys and values of an encoder."""
    if not config.flag("add_cross_attention"):
        return Block()
    hidden = sizes.hidden
    mixer = Mixer(MixerKind.CROSS, sizes.heads, sizes.heads, sizes.head_dim, sizes.head_dim)
    return (
        linear("crossattention.c_attn", 2 * hidden, hidden, Role.QKV, True, module=module)
        + linear("crossattention.q_attn", hidden, hidden, Role.Q, True, module=module)
        + linear("crossattention.c_proj", hidden, hidden, Role.O, True, module=module)
        + norm("ln_cross_attn", hidden, bias=True)
        + Block(mixers=(mixer,))
    )


def gpt2(module: Module, **options: object) -> Decoder:
    """GPT-2's shape, of Conv1D or linear modules."""
    attention = FusedAttention(
        ("c_attn", "c_proj"),
        "attn.",
        plain_heads=True,
        kv_field=False,
        module=module,
        plus=lambda config, sizes: _cross_attention(config, sizes, module),
    )
    return replace(
        Decoder(
            attention,
            Mlp("plain", True, ("c_fc", "c_proj"), size="n_inner", factor=4, module=module),
            LN,
            norm_bias=True,
            plus=positions("transformer.wpe"),
            naming=GPT_NAMING,
        ),
        **options,  # type: ignore[arg-type]
    )
