"""State-space and recurrent models, whoever made them: Mamba 1 and 2, Jamba, xLSTM, RecurrentGemma."""

from __future__ import annotations

from collections.abc import Callable

from sizer.model.architecture import MixerKind
from sizer.model.blocks.core import Block, Parts, norm
from sizer.model.blocks.mlp import experts, fused_mlp, gated_mlp, router
from sizer.model.blocks.ssm import Mamba2Sizes, mamba, mamba2, mlstm, rg_lru
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mamba1, mamba_sizes, mixer_types
from sizer.model.shapes.rules import Attention


def mamba_2(config: Config) -> Parts:
    """Mamba 2."""
    hidden, heads, head_dim = config.size("hidden_size"), config.size("num_heads"), config.size("head_dim")
    if config.scaled(hidden, "expand", default=2) != heads * head_dim:
        raise config.error("num_heads", f"num_heads * head_dim must be expand * hidden_size ({hidden}).")
    block = norm("norm", hidden) + mamba2(
        hidden,
        Mamba2Sizes(heads, head_dim, config.size("n_groups"), config.size("state_size"), config.size("conv_kernel")),
        conv_bias=config.flag("use_conv_bias", default=True),
        bias=config.flag("use_bias"),
    )
    return causal_lm(
        config, [block] * config.layers(), Naming(prefix="backbone.", embed="embeddings", final_norm="norm_f")
    )


def jamba(config: Config) -> Parts:
    """Jamba: Mamba with attention on every nth layer, experts on every mth."""
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    count, expert_count = config.layers(), config.size("num_experts")
    attention = _period(config, "attn_layer")
    sparse = _period(config, "expert_layer")
    states = mamba(
        hidden,
        mamba_sizes(config),
        prefix="mamba.",
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
        norms=True,
    )
    full = Attention(bias=False, o_bias=False)(config, 1)[0]
    dense = gated_mlp(hidden, inner, prefix="feed_forward.")
    routed = router(hidden, expert_count, name="feed_forward.router") + experts(
        hidden, inner, expert_count, config.size("num_experts_per_tok"), prefix="feed_forward.experts."
    )

    def layer(kind: tuple[bool, bool]) -> Block:
        block = (full if kind[0] else states) + (routed if kind[1] and expert_count > 1 else dense)
        return block + norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)

    kinds = [(attention(index), sparse(index)) for index in range(count)]
    return causal_lm(config, each_kind(kinds, layer), Naming(final_norm="final_layernorm"))


def _period(config: Config, name: str) -> Callable[[int], bool]:
    period, offset = config.size(f"{name}_period"), config.size(f"{name}_offset", minimum=0)
    if offset >= period:
        raise config.error(f"{name}_offset", f"It must be below {name}_period ({period}).")
    return lambda index: index % period == offset


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
        Naming(prefix="backbone.", layers="blocks.{layer}.", embed="embeddings", final_norm="out_norm"),
        tied=False,
    )


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
    return causal_lm(config, blocks, Naming(final_norm="final_norm"))


FAMILIES: dict[str, Family] = {
    "mamba": mamba1,
    "mamba2": mamba_2,
    "jamba": jamba,
    "xlstm": xlstm,
    "recurrent_gemma": recurrent_gemma,
}
