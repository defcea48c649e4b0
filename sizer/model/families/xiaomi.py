"""Xiaomi: MiMo, MiMo-V2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sizer.model.blocks.attention import attention, sinks
from sizer.model.blocks.core import Block
from sizer.model.config import Config
from sizer.model.shapes.decoder import QWEN2, Decoder
from sizer.model.shapes.experts import FirstDense, Moe, Mtp
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind
from sizer.model.shapes.rules import heads
from sizer.model.shapes.windows import window_of


def _mimo_attention(config: Config, count: int) -> Sequence[Block]:
    """MiMo-V2-Flash: sliding layers have sinks and twice the KV heads; values have a head size of their own."""
    types = config.layer_types(count) or tuple(
        "full_attention" if index == 0 or not (index + 1) % 6 else "sliding_attention" for index in range(count)
    )
    declared = config.optional_size("sliding_window_size")
    window = config.optional_size("sliding_window") if declared is None else declared + 1
    sizes = replace(heads(config), v_head_dim=config.size("v_head_dim"))
    bias = config.flag("attention_bias")

    def block(name: str) -> Block:
        sliding = name == "sliding_attention"
        own = replace(sizes, kv_heads=sizes.kv_heads * (2 if sliding else 1))
        found = attention(own, bias=bias, o_bias=False, window=window_of(config, name, window)[1])
        return found + sinks(own.heads) if sliding else found

    return each_kind(types, block)


def _mimo_mtp(config: Config, last: Block, count: int) -> tuple[Any, ...]:
    """MiMo-7B: DeepSeek's prediction layer without its own tables, under names of its own."""
    return Mtp(tables=False)(config, last, count)


FAMILIES: dict[str, Family] = {
    "mimo_v2_flash": Decoder(_mimo_attention, Moe("n_routed_experts", sparse=FirstDense(None, 1))),
    "mimo": Decoder(QWEN2.attention, QWEN2.mlp, beyond=_mimo_mtp),
}
