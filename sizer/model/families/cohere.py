"""Cohere: Command R and A, Compass, Command's experts, Aya Vision, Command A Vision."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.architecture import Module, Role
from sizer.model.blocks.attention import Heads
from sizer.model.blocks.core import Block, parameter
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder
from sizer.model.shapes.experts import FirstDense, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention
from sizer.model.shapes.windows import EveryNth, Window, typed_windows, window_of
from sizer.model.shapes.wrapper import Pieces, Wrapper


def _two_dimensional_norms(config: Config, sizes: Heads) -> Block:
    """Cohere: query and key norms of [heads, head_dim], if `use_qk_norm`."""
    if not config.flag("use_qk_norm"):
        return Block()
    return sum(
        (
            parameter(f"self_attn.{name}.weight", count, sizes.head_dim, role=Role.NORM, module=Module.NORM)
            for name, count in (("q_norm", sizes.heads), ("k_norm", sizes.kv_heads))
        ),
        Block(),
    )


def _cohere2_moe_windows(config: Config, count: int) -> Sequence[Window]:
    """Cohere2-MoE: one pattern for the dense layers in front, counted apart from that of the rest."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    if types is None:
        front = min(config.size("first_k_dense_replace", default=0, minimum=0), count)
        patterns = (config.size("prefix_dense_sliding_window_pattern"), config.size("sliding_window_pattern"))
        places = [(index, patterns[0]) for index in range(front)]
        places += [(index, patterns[1]) for index in range(count - front)]
        types = tuple("sliding_attention" if (index + 1) % every else "full_attention" for index, every in places)
    return tuple(window_of(config, name, window) for name in types)


def _cohere2_dense(config: Config, count: int) -> Sequence[Block]:
    inner = config.optional_size("prefix_dense_intermediate_size") or config.size("intermediate_size")
    sparse = FirstDense()(config, count)
    moe = Moe(inner="intermediate_size", shared=("intermediate_size", "num_shared_experts"))
    routed, dense = moe.block(config) if any(sparse) else Block(), UNBIASED.block(config, inner)
    return [routed if is_sparse else dense for is_sparse in sparse]


def cohere_vision(pieces: Pieces, tree: Tree, *, norm: bool = False) -> None:
    """Command A Vision: pixels shuffled into channels, a gated pair of matrices."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("downsample_factor") ** 2
    inner = pieces.config.size("alignment_intermediate_size", default=pieces.text_size)
    projector = tree.at("multi_modal_projector")
    if norm:
        projector.layer_norm("layernorm", size=width)
    projector.linear("linear_1", inner, width, bias=True)
    projector.linear("linear_2", pieces.text_size, inner // 2, bias=True)


def aya_vision(pieces: Pieces, tree: Tree) -> None:
    """Aya Vision: Command A Vision's projector behind a norm."""
    cohere_vision(pieces, tree, norm=True)


FAMILIES: dict[str, Family] = {
    "cohere": Decoder(Attention(plus=_two_dimensional_norms), UNBIASED, PRE_NORMS[:1]),
    "cohere2": Decoder(Attention(windows=EveryNth(4, "sliding_window_pattern")), UNBIASED, PRE_NORMS[:1]),
    "cohere_compass_text": Decoder(Attention(windows=typed_windows), UNBIASED, PRE_NORMS[:1]),
    "cohere2_moe": Decoder(Attention(windows=_cohere2_moe_windows), _cohere2_dense, PRE_NORMS[:1]),
    "aya_vision": Wrapper(aya_vision),
    "cohere2_vision": Wrapper(cohere_vision),
}
