"""Liquid AI: LFM2 and LFM3, with experts and with eyes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sizer.model.architecture import MixerKind, Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import experts, gated_mlp, router
from sizer.model.blocks.ssm import short_conv
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mixer_types
from sizer.model.shapes.rules import Attention
from sizer.model.shapes.wrapper import Pieces, Wrapper

LFM_MLP = ("w1", "w3", "w2")
LFM_NORMS = ("operator_norm", "ffn_norm")
NO_GATES = Block()


def _lfm(
    config: Config,
    layers: Iterable[tuple[str, Block]],
    *,
    full: Attention,
    gates: Block = NO_GATES,
    norms: Sequence[str],
    tied: bool,
) -> Parts:
    """Short convolutions among attention layers: `layers` gives the kind and the MLP of each.

    `full` and `gates` are the attention of the others.
    """
    hidden = config.size("hidden_size")
    conv = short_conv(hidden, config.size("conv_L_cache"), bias=config.flag("conv_bias"))
    around = sum((norm(name, hidden) for name in norms), Block())
    window = config.optional_size("sliding_window")
    layers = tuple(layers)
    mlps = {id(mlp): mlp for _, mlp in layers}

    def layer(kind: tuple[str, int]) -> Block:
        mixer = conv
        if kind[0] != "conv":
            sliding = kind[0] == "sliding_attention" and window is not None
            mixer = gates + full.block(config, (MixerKind.SLIDING, window) if sliding else (MixerKind.FULL, None))
        return mixer + mlps[kind[1]] + around

    kinds = [(kind, id(mlp)) for kind, mlp in layers]
    return causal_lm(config, each_kind(kinds, layer), Naming(final_norm="embedding_norm"), tied=tied)


LFM2_ATTENTION = Attention(
    bias=False,
    o_bias=False,
    qk_norm="head",
    qk_names=("q_layernorm", "k_layernorm"),
    names=("q_proj", "k_proj", "v_proj", "out_proj"),
)


def lfm2_types(config: Config, count: int) -> Sequence[str]:
    """`layer_types`, else attention on `full_attn_idxs`, else on every layer."""
    types = config.layer_types(count)
    if types is None:
        listed = config.sequence("full_attn_idxs", int)
        types = tuple("full_attention" if listed is None or i in listed else "conv" for i in range(count))
    return mixer_types(config, "layer_types", types, ("full_attention", "conv"))


def lfm2(config: Config) -> Parts:
    """LFM2: the MLP's size is two thirds of the config's, scaled and rounded up, unless told not to."""
    hidden, count = config.size("hidden_size"), config.layers()
    inner = config.size("block_ff_dim", default=None if "block_ff_dim" in config.fields else 0, minimum=0)
    inner = inner or config.size("intermediate_size")
    if config.flag("block_auto_adjust_ff_dim", default=True):
        inner = 2 * inner // 3
        if config.first("block_ffn_dim_multiplier")[1] is not None:
            step = config.size("block_multiple_of")
            inner = config.scaled(inner, "block_ffn_dim_multiplier", default=1.0)
            inner = step * ((inner + step - 1) // step)
    mlp = gated_mlp(hidden, inner, prefix="feed_forward.", names=LFM_MLP)
    tied = config.flag("tie_embedding", "tie_word_embeddings")
    layers = ((kind, mlp) for kind in lfm2_types(config, count))
    return _lfm(config, layers, full=LFM2_ATTENTION, norms=LFM_NORMS, tied=tied)


def lfm2_moe(config: Config) -> Parts:
    """LFM2 MoE: experts behind a few dense layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    if config.layer_types(count) is None:
        raise config.error("layer_types", "The family has no default: it must name each layer's kind.")
    dense_layers = config.size("num_dense_layers", minimum=0)
    dense, sparse = Block(), Block()
    if dense_layers:
        dense = gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", names=LFM_MLP)
    if dense_layers < count:
        expert_count = config.size("num_experts")
        inner, active = config.size("moe_intermediate_size"), config.size("num_experts_per_tok")
        sparse = router(hidden, expert_count, name="feed_forward.gate")
        sparse += experts(hidden, inner, expert_count, active, prefix="feed_forward.experts.")
    mlps = [dense if index < dense_layers else sparse for index in range(count)]
    tied = config.flag("tie_embedding", "tie_word_embeddings")
    layers = zip(lfm2_types(config, count), mlps, strict=True)
    return _lfm(config, layers, full=LFM2_ATTENTION, norms=LFM_NORMS, tied=tied)


def lfm3(config: Config) -> Parts:
    """LFM3: convolutions, full and sliding attention with a gate for each head, sandwich norms."""
    hidden, count = config.size("hidden_size"), config.layers()
    types = config.layer_types(count)
    if types is None:
        every_fourth = {0: "sliding_attention", 2: "full_attention"}
        types = ("conv", *(every_fourth.get(index % 4, "conv") for index in range(1, count)))
    mixer_types(config, "layer_types", types, ("full_attention", "sliding_attention", "conv"))
    mlp = gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", names=LFM_MLP)
    norms: tuple[str, ...] = LFM_NORMS
    if config.flag("use_sandwich_norm", default=True):
        norms += ("post_operator_norm", "post_ffn_norm")
    gates = Block()
    if config.flag("use_attention_gate", default=True):
        gates = linear("self_attn.g_proj", config.size("num_attention_heads"), hidden, Role.GATE)
    layers = ((kind, mlp) for kind in types)
    return _lfm(
        config,
        layers,
        full=Attention(qk_norm="head"),
        gates=gates,
        norms=norms,
        tied=config.flag("tie_word_embeddings"),
    )


def lfm2_vl(pieces: Pieces, tree: Tree) -> None:
    """LFM2-VL: pixels shuffled into channels, an optional norm, two matrices."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("downsample_factor") ** 2
    projector, bias = tree.at("multi_modal_projector"), pieces.config.flag("projector_bias", default=True)
    if pieces.config.flag("projector_use_layernorm", default=True):
        projector.layer_norm("layer_norm", size=width)
    inner = pieces.config.size("projector_hidden_size")
    projector.mlp(width, inner, "linear_1 linear_2", bias=bias, out=pieces.text_size)


def lfm3_vl(pieces: Pieces, tree: Tree) -> None:
    """LFM3-VL: a norm, then two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector, bias = tree.at("multi_modal_projector"), pieces.config.flag("projector_bias", default=True)
    projector.layer_norm("layer_norm", size=size)
    inner = pieces.config.size("projector_hidden_size")
    projector.mlp(merged, inner, "linear_1 linear_2", bias=bias, out=pieces.text_size)


FAMILIES: dict[str, Family] = {
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "lfm3": lfm3,
    "lfm2_vl": Wrapper(lfm2_vl),
    "lfm3_vl": Wrapper(lfm3_vl),
}
