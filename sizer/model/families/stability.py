"""Stability AI: StableLM."""

from __future__ import annotations

from sizer.model.blocks.attention import Heads
from sizer.model.blocks.core import Block, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention


def _norm_each_head(config: Config, sizes: Heads) -> Block:
    """StableLM: a norm for each head of queries and keys, weights only, if `qk_layernorm`."""
    block = Block()
    if config.flag("qk_layernorm"):
        for name, count in (("q_layernorm", sizes.heads), ("k_layernorm", sizes.kv_heads)):
            for index in range(count):
                block += norm(f"self_attn.{name}.norms.{index}", sizes.head_dim)
    return block


def _stablelm_norms(config: Config) -> tuple[str, ...]:
    return PRE_NORMS[:1] if config.flag("use_parallel_residual") else PRE_NORMS


FAMILIES: dict[str, Family] = {
    "stablelm": Decoder(
        Attention(bias="use_qkv_bias", o_bias=False, plain_heads=True, plus=_norm_each_head),
        UNBIASED,
        _stablelm_norms,
        norm_bias=True,
    ),
    "stablelm_epoch": Decoder(Attention(bias="use_qkv_bias", o_bias=False), UNBIASED, norm_bias=True),
}
