"""Qwen's text models of plain attention: Qwen2 and Qwen3, dense and with experts."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.config import Config
from sizer.model.shapes.decoder import QWEN2, Decoder
from sizer.model.shapes.experts import Moe, shared_gate, sparse_step
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention
from sizer.model.shapes.windows import FULL, Window, max_window_layers, one_window, window_of


def _qwen2_moe_windows(config: Config, count: int) -> Sequence[Window]:
    """Qwen2-MoE: with `use_sliding_window`, every other layer below `max_window_layers` has a window."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    types = config.layer_types(count)
    if types is None:
        last = config.size("max_window_layers", default=count, minimum=0)
        types = tuple("sliding_attention" if (i + 1) % 2 and i < last else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)


def _qwen3_moe_windows(config: Config, count: int) -> Sequence[Window]:
    return one_window(config, count) if config.flag("use_sliding_window") else (FULL,) * count


FAMILIES: dict[str, Family] = {
    "qwen2": QWEN2,
    "qwen3": Decoder(Attention(qk_norm="head", windows=max_window_layers), UNBIASED),
    "qwen2_moe": Decoder(
        Attention(bias="qkv_bias", o_bias=False, windows=_qwen2_moe_windows),
        Moe(
            sparse=sparse_step,
            shared="shared_expert_intermediate_size",
            shared_name="shared_expert.",
            plus=shared_gate,
        ),
    ),
    "qwen3_moe": Decoder(Attention(qk_norm="head", windows=_qwen3_moe_windows), Moe(sparse=sparse_step)),
}
