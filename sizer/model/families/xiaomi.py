"""Xiaomi: MiMo, MiMo-V2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block
from sizer.model.config import Config
from sizer.model.shapes.decoder import QWEN2, Decoder
from sizer.model.shapes.experts import FirstDense, Moe, Mtp
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import heads
from sizer.model.shapes.windows import window_of


def _mimo_attention(config: Config, count: int) -> Sequence[Block]:
    """MiMo-V2-Flash: sliding layers have sinks and twice the KV heads; values have a head size of their own."""
    types = config.layer_types(count) or tuple(
        "full_attention" if index == 0 or not (index + 1) % 6 else "sliding_attention" for index in range(count)
    )
    declared = config.optional_size("sliding_window_size")
    window = config.optional_size("sliding_window") if declared is None else declared + 1
    sizes, bias = heads(config), config.flag("attention_bias")
    blocks = {
        name: attention(
            sizes.hidden, sizes.heads, sizes.kv_heads * (2 if name == "sliding_attention" else 1), sizes.head_dim,
            v_head_dim=config.size("v_head_dim"), bias=bias, o_bias=False, sinks=name == "sliding_attention",
            window=window_of(config, name, window)[1],
        )
        for name in dict.fromkeys(types)
    }  # fmt: skip
    return [blocks[name] for name in types]


def _mimo_mtp(config: Config, last: Block, count: int) -> tuple[Any, ...]:
    """MiMo-7B: DeepSeek's prediction layer without its own tables, under names of its own."""
    return Mtp(tables=False)(config, last, count)


FAMILIES: dict[str, Family] = {
    "mimo_v2_flash": Decoder(_mimo_attention, Moe("n_routed_experts", sparse=FirstDense(None, 1))),
    "mimo": Decoder(QWEN2.attention, QWEN2.mlp, beyond=_mimo_mtp),
}
