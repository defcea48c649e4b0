"""Zamba: Mamba layers, some of which also run one of a few shared transformer blocks, stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MlpKind, Role, Tensor
from sizer.model.blocks.attention import attention, attention_mixer
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, prefixed
from sizer.model.blocks.mlp import fused_mlp, gated_mlp
from sizer.model.blocks.ssm import mamba2, multi_head_mamba
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.hybrid import dt_rank, each_kind, mixer_types

TYPES = ("linear_attention", "hybrid")


def _shared(
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
    parts = causal_lm(config, blocks, final_norm="final_layernorm", extra_tensors=stored)
    runs = sum(kind == "hybrid" for kind in types)
    if len(owners) == runs:
        return parts
    return replace(parts, notes=(f"{len(owners)} shared transformer block(s), stored once, run on {runs} layers.",))


def _owners(config: Config, types: Sequence[str], distinct: int) -> list[int]:
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
    mixer_types(config, "layers_block_type", types, TYPES)
    mamba = multi_head_mamba(
        hidden,
        config.size("mamba_expand") * hidden,
        config.size("n_mamba_heads"),
        states=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
        rank=dt_rank(config, "mamba_dt_rank", hidden),
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
    )
    block = _attention(hidden, width, heads, kv_heads, head_dim)
    block += gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.")
    owners = dict.fromkeys(_owners(config, types, 1), block)
    return _shared(config, "shared_transf", mamba=mamba, heads=(heads, kv_heads, head_dim), types=types, owners=owners)


def _attention(hidden: int, width: int, heads: int, kv_heads: int, head_dim: int) -> Block:
    """The shared block's attention: it reads the hidden state beside the embedding (`width`), and writes `hidden`."""
    block = attention(width, heads, kv_heads, head_dim)
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
        mamba_heads,
        inner // mamba_heads,
        groups=config.size("mamba_ngroups"),
        states=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
        prefix="mamba.",
        bias=bias,
    )
    distinct = config.size("num_mem_blocks")
    runs = sum(kind == "hybrid" for kind in types)
    owners = {}
    for turn, index in enumerate(_owners(config, types, distinct)):
        block = _attention(hidden, width, heads, kv_heads, head_dim)
        mlp_inner = config.size("intermediate_size", default=4 * hidden)
        block += fused_mlp(hidden, mlp_inner, prefix="feed_forward.", bias=bias)
        slots = range(turn % distinct, runs, distinct)
        owners[index] = block + _adapters(config, hidden, mlp_inner, slots)
    return _shared(
        config, "shared_transformer", mamba=mamba, heads=(heads, kv_heads, head_dim), types=types, owners=owners
    )


def _zamba2_types(config: Config) -> Sequence[str]:
    listed = config.sequence("layers_block_type")
    if listed == ():
        raise config.error("layers_block_type", "It must name the kind of each layer.")
    if listed is None:
        linear_layer, hybrid = TYPES
        first = (linear_layer, *(*(linear_layer,) * 5, hybrid) * 7, *(linear_layer,) * 4, hybrid)
        return (*first, *(linear_layer,) * 3, hybrid, linear_layer, linear_layer)
    types = config.layer_types(len(listed), "layers_block_type") or ()
    return mixer_types(config, "layers_block_type", types, TYPES)


def _adapters(config: Config, hidden: int, inner: int, slots: Sequence[int]) -> Block:
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


FAMILIES = {"zamba": zamba, "zamba2": zamba2}
