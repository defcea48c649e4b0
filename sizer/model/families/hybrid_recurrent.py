"""Recurrences, short convolutions and their hybrids: RecurrentGemma, RWKV, xLSTM, LFM2 and 3, Zaya, Inkling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sizer.model.architecture import MixerKind, Module, Role
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import DENSE, experts, fused_mlp, gated_mlp, router
from sizer.model.blocks.ssm import mlstm, rg_lru, rwkv4_attention, short_conv, state
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.hybrid import each_kind, mixer_types
from sizer.model.families.rules import Attention, heads


def recurrent_gemma(config: Config) -> Parts:
    """RecurrentGemma (Griffin): gated linear recurrences and sliding attention, in a repeating order."""
    hidden, count = config.size("hidden_size"), config.layers()
    order = config.sequence("block_types") or ()
    if not order:
        raise config.error("block_types", "It must name the kinds of layers, in the order that repeats.")
    mixer_types(config, "block_types", order, ("recurrent", "attention"))
    width = config.size("lru_width", default=hidden)
    recurrent = rg_lru(hidden, width, config.size("num_attention_heads"), config.size("conv1d_width"))
    window = config.size("attention_window_size")
    attending = Attention(o_bias=True, prefix="temporal_block.").block(config, (MixerKind.SLIDING, window))
    around = gated_mlp(hidden, config.size("intermediate_size") // 2, prefix="mlp_block.", bias=True)
    around += norm("temporal_pre_norm", hidden) + norm("channel_pre_norm", hidden)
    kinds = (tuple(order) * count)[:count]
    blocks = each_kind(kinds, lambda kind: (recurrent if kind == "recurrent" else attending) + around)
    return causal_lm(config, blocks, final_norm="final_norm")


def rwkv(config: Config) -> Parts:
    """RWKV-4: time mixing and channel mixing; the first layer norms the embedding too."""
    hidden = config.size("hidden_size")
    inner = config.size("intermediate_size", default=4 * hidden)
    block = rwkv4_attention(hidden, config.size("attention_hidden_size", default=hidden)) + DENSE
    for name in ("key", "receptance"):
        block += parameter(f"feed_forward.time_mix_{name}", 1, 1, hidden, role=Role.SSM)
    block += linear("feed_forward.key", inner, hidden, Role.UP)
    block += linear("feed_forward.receptance", hidden, hidden, Role.GATE)
    block += linear("feed_forward.value", hidden, inner, Role.DOWN)
    block += norm("ln1", hidden, True) + norm("ln2", hidden, True)
    first = norm("pre_ln", hidden, True) + block
    return causal_lm(
        config,
        [first] + [block] * (config.layers() - 1),
        prefix="rwkv.",
        layers="blocks.{layer}.",
        embed="embeddings",
        final_norm="ln_out",
        norm_bias=True,
        head="head",
    )


def xlstm(config: Config) -> Parts:
    """xLSTM: matrix memories with gated MLPs."""
    hidden, bias = config.size("hidden_size", "embedding_dim"), config.flag("use_bias")
    count = config.layers("num_blocks") if config.fields.get("num_blocks") else config.layers()
    fused = config.text("weight_mode", default="single") == "fused"
    step = config.size("ffn_round_up_to_multiple_of")
    inner = -(-config.scaled(hidden, "ffn_proj_factor", default=2.667) // step) * step
    block = mlstm(
        hidden,
        config.size("num_heads"),
        config.scaled(hidden, "qk_dim_factor", default=0.5),
        config.scaled(hidden, "v_dim_factor", default=1.0),
        bias=bias,
        fused=fused,
    )
    if fused:
        block += fused_mlp(hidden, inner, prefix="ffn.", names=("proj_up_gate_z", "proj_down"), bias=bias)
    else:
        block += gated_mlp(hidden, inner, prefix="ffn.", names=("proj_up_gate", "proj_up", "proj_down"), bias=bias)
    block += norm("norm_mlstm", hidden, bias) + norm("norm_ffn", hidden, bias)
    # The class ties nothing, whatever the config says.
    return causal_lm(
        config,
        [block] * count,
        prefix="backbone.",
        layers="blocks.{layer}.",
        embed="embeddings",
        final_norm="out_norm",
        tied=False,
    )


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
    return causal_lm(config, each_kind(kinds, layer), final_norm="embedding_norm", tied=tied)


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


def zaya(config: Config) -> Parts:
    """Zaya: attention in a space compressed by convolutions over queries and keys; a router that is an MLP."""
    hidden, count = config.size("hidden_size"), config.layers()
    types = config.layer_types(count) or ("hybrid",) * count
    mixer_types(config, "layer_types", types, ("hybrid", "hybrid_sliding"))
    around = norm("input_layernorm", hidden) + norm("post_attention_layernorm", hidden)
    for place in ("post_attention", "post_mlp"):
        for name in ("hidden_states_scale", "hidden_states_bias", "residual_scale", "residual_bias"):
            around += parameter(f"{place}_residual_scale.{name}", hidden)

    def layer(kind: tuple[str, bool]) -> Block:
        window = config.size("sliding_window") if kind[0] == "hybrid_sliding" else None
        return _zaya_attention(config, window) + _zaya_moe(config, kind[1]) + around

    extra = Block()
    for name in ("input_hidden_states_scale", "input_hidden_states_bias"):
        extra += parameter(f"model.{name}", hidden)
    kinds = [(kind, index > 0) for index, kind in enumerate(types)]
    return causal_lm(config, each_kind(kinds, layer), extra=extra, head_bias=config.flag("lm_head_bias"))


def _zaya_attention(config: Config, window: int | None) -> Block:
    sizes, bias, prefix = heads(config), config.flag("attention_bias"), "self_attn.qkv_proj."
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    first, second = config.size("cca_time0"), config.size("cca_time1")
    block = linear("self_attn.o_proj", sizes.hidden, queries, Role.O, bias)
    block += linear(prefix + "q_proj", queries, sizes.hidden, Role.Q, bias)
    block += linear(prefix + "k_proj", keys, sizes.hidden, Role.K, bias)
    for name in ("v_proj_current", "v_proj_delayed"):
        block += linear(prefix + name, keys // 2, sizes.hidden, Role.V, bias)
    width = queries + keys
    for name, into, kernel in (
        ("conv_qk_depthwise", 1, first),
        ("conv_qk_grouped", width // (sizes.heads + sizes.kv_heads), second),
    ):
        block += parameter(f"{prefix}{name}.weight", width, into, kernel, role=Role.CONV, module=Module.CONV)
        block += parameter(f"{prefix}{name}.bias", width, role=Role.BIAS, module=Module.CONV)
    block += parameter("self_attn.qk_norm.temp", sizes.kv_heads, role=Role.NORM)
    kept = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, window=window)
    return block + Block(mixers=kept.mixers) + state(MixerKind.CONV, width * (first + second - 2) + keys // 2)


def _zaya_moe(config: Config, carries_states: bool) -> Block:
    hidden, count, inner = config.size("hidden_size"), config.size("num_experts"), config.size("router_hidden_size")
    block = linear("mlp.gate.down_proj", inner, hidden, Role.ROUTER, True)
    block += norm("mlp.gate.router_mlp.norm", inner)
    block += linear("mlp.gate.router_mlp.fc1", inner, inner, Role.ROUTER, True)
    block += linear("mlp.gate.router_mlp.fc2", inner, inner, Role.ROUTER, True)
    # One class more than there are experts: a token may skip them all.
    block += linear("mlp.gate.router_mlp.out_proj", count + 1, inner, Role.ROUTER)
    if carries_states:
        block += parameter("mlp.gate.router_states_scale", inner, role=Role.ROUTER)
    active = config.size("num_experts_per_tok")
    return block + experts(hidden, config.size("moe_intermediate_size"), count, active)


FAMILIES = {
    "recurrent_gemma": recurrent_gemma,
    "rwkv": rwkv,
    "xlstm": xlstm,
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "lfm3": lfm3,
    "zaya": zaya,
}
