"""Zyphra: Zamba 1 and 2, Zaya."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MixerKind, MlpKind, Module, Role, Tensor
from sizer.model.blocks.attention import Heads, attention, attention_mixer
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import experts, fused_mlp, gated_mlp
from sizer.model.blocks.ssm import Mamba2Sizes, mamba2, multi_head_mamba, state
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mamba_sizes, mixer_types
from sizer.model.shapes.rules import heads


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
    kept = attention(sizes, window=window)
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


ZAMBA_TYPES = ("linear_attention", "hybrid")


def _with_shared(
    config: Config,
    name: str,
    *,
    mamba: Block,
    heads: tuple[int, int, int],
    types: Sequence[str],
    owners: dict[int, Block],
) -> Parts:
    """The whole model: `owners` are the layers that store a shared block, and that block; `heads` its attention's."""
    hidden = config.size("hidden_size")
    states = norm("input_layernorm", hidden) + mamba
    both = linear("linear", hidden, hidden, Role.OTHER) + prefixed("mamba_decoder.", states)
    both += Block(mixers=(attention_mixer(*heads),), mlp=MlpKind.DENSE)
    blocks = each_kind(types, lambda kind: both if kind == "hybrid" else states)
    stored: tuple[Tensor, ...] = ()
    for index, block in owners.items():
        stored += on_layers(f"model.layers.{{layer}}.{name}.", block, (index,))
    parts = causal_lm(config, blocks, Naming(final_norm="final_layernorm"), extra_tensors=stored)
    runs = sum(kind == "hybrid" for kind in types)
    if len(owners) == runs:
        return parts
    return replace(parts, notes=(f"{len(owners)} shared transformer block(s), stored once, run on {runs} layers.",))


def _zamba_owners(config: Config, types: Sequence[str], distinct: int) -> list[int]:
    """Hybrid layers that store a block: the first `distinct`; all of them where the config ties nothing."""
    hybrids = [index for index, kind in enumerate(types) if kind == "hybrid"]
    return hybrids[:distinct] if config.flag("tie_word_embeddings") else hybrids


def zamba(config: Config) -> Parts:
    """Zamba: one shared block."""
    hidden, count = config.size("hidden_size"), config.layers()
    heads, kv_heads = config.size("num_attention_heads"), config.size("num_key_value_heads")
    width = config.size("attention_hidden_size", default=2 * hidden)
    head_dim = config.size("attention_head_dim", default=2 * hidden // heads)
    types = config.layer_types(count, "layers_block_type")
    if types is None:
        period, offset = config.size("attn_layer_period"), config.size("attn_layer_offset", minimum=0)
        tail = ("hybrid" if index % period == offset else "linear_attention" for index in range(count - 3))
        types = ("linear_attention", "linear_attention", "hybrid", *tail)
    mixer_types(config, "layers_block_type", types, ZAMBA_TYPES)
    mamba = multi_head_mamba(
        hidden,
        mamba_sizes(config),
        config.size("n_mamba_heads"),
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
    )
    block = _zamba_attention(hidden, width, heads, kv_heads, head_dim)
    block += gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.")
    owners = dict.fromkeys(_zamba_owners(config, types, 1), block)
    return _with_shared(
        config, "shared_transf", mamba=mamba, heads=(heads, kv_heads, head_dim), types=types, owners=owners
    )


def _zamba_attention(hidden: int, width: int, heads: int, kv_heads: int, head_dim: int) -> Block:
    """The shared block's attention: it reads the hidden state beside the embedding (`width`), and writes `hidden`."""
    block = attention(Heads(width, heads, kv_heads, head_dim))
    output = linear("self_attn.o_proj", hidden, heads * head_dim, Role.O)
    block = Block(block.tensors[:-1]) + output
    return block + norm("input_layernorm", width) + norm("pre_ff_layernorm", hidden)


def zamba2(config: Config) -> Parts:
    """Zamba 2: `num_mem_blocks` shared blocks taken in turn, with low-rank adapters for each layer that runs them."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", default=heads)
    width = config.size("attention_hidden_size", default=2 * hidden)
    head_dim = config.size("attention_head_dim", default=2 * hidden // heads)
    inner = config.size("mamba_expand") * hidden
    mamba_heads = config.size("n_mamba_heads")
    types = _zamba2_types(config)
    bias = config.flag("add_bias_linear")
    mamba = mamba2(
        hidden,
        Mamba2Sizes(
            mamba_heads,
            inner // mamba_heads,
            config.size("mamba_ngroups"),
            config.size("mamba_d_state"),
            config.size("mamba_d_conv"),
        ),
        prefix="mamba.",
        bias=bias,
    )
    distinct = config.size("num_mem_blocks")
    runs = sum(kind == "hybrid" for kind in types)
    owners = {}
    for turn, index in enumerate(_zamba_owners(config, types, distinct)):
        block = _zamba_attention(hidden, width, heads, kv_heads, head_dim)
        mlp_inner = config.size("intermediate_size", default=4 * hidden)
        block += fused_mlp(hidden, mlp_inner, prefix="feed_forward.", bias=bias)
        slots = range(turn % distinct, runs, distinct)
        owners[index] = block + _zamba_adapters(config, hidden, mlp_inner, slots)
    return _with_shared(
        config, "shared_transformer", mamba=mamba, heads=(heads, kv_heads, head_dim), types=types, owners=owners
    )


def _zamba2_types(config: Config) -> Sequence[str]:
    listed = config.sequence("layers_block_type")
    if listed == ():
        raise config.error("layers_block_type", "It must name the kind of each layer.")
    if listed is None:
        linear_layer, hybrid = ZAMBA_TYPES
        first = (linear_layer, *(*(linear_layer,) * 5, hybrid) * 7, *(linear_layer,) * 4, hybrid)
        return (*first, *(linear_layer,) * 3, hybrid, linear_layer, linear_layer)
    types = config.layer_types(len(listed), "layers_block_type") or ()
    return mixer_types(config, "layers_block_type", types, ZAMBA_TYPES)


def _zamba_adapters(config: Config, hidden: int, inner: int, slots: Sequence[int]) -> Block:
    """Low-rank adapters of one shared block, a pair of matrices for each run of it."""
    rank, width = config.size("adapter_rank"), config.size("attention_hidden_size", default=2 * hidden)
    block = Block()
    targets = [("feed_forward.gate_up_proj", hidden, 2 * inner)]
    if config.flag("use_shared_attention_adapter"):
        targets += [(f"self_attn.linear_{name}", width, width) for name in "qkv"]
    for name, into, out in targets:
        for slot in slots:
            block += linear(f"{name}_adapter_list.{slot}.0", rank, into, Role.OTHER)
            block += linear(f"{name}_adapter_list.{slot}.1", out, rank, Role.OTHER)
    return block


FAMILIES: dict[str, Family] = {
    "zaya": zaya,
    "zamba": zamba,
    "zamba2": zamba2,
}
