"""Layers of several kinds in one model: Mamba or delta nets among attention."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import ceil
from typing import TypeVar

from sizer.model.blocks.core import Block, Parts, norm
from sizer.model.blocks.linear_attention import DeltaSizes
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.blocks.ssm import Mamba2Sizes, MambaSizes, mamba, mamba2
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Naming, causal_lm

Kind = TypeVar("Kind", bound=Hashable)


def each_kind(kinds: Sequence[Kind], make: Callable[[Kind], Block]) -> list[Block]:
    """One Block a layer, built once for each kind: `kinds[i]` is all that layer i depends on."""
    blocks = {kind: make(kind) for kind in dict.fromkeys(kinds)}
    return [blocks[kind] for kind in kinds]


def mixer_types(config: Config, name: str, types: Sequence[str], allowed: Sequence[str]) -> Sequence[str]:
    """`types` where each is one of `allowed`; else the error names the field."""
    for kind in types:
        if kind not in allowed:
            raise config.error(name, f"{kind!r:.40} is no layer of this family; it has {', '.join(allowed)}.")
    return types


def dt_rank(config: Config, field: str, hidden: int) -> int:
    """Rank of Mamba's time step; `auto` is a sixteenth of the hidden size."""
    return ceil(hidden / 16) if config.get(field) == "auto" else config.size(field)


def mamba_sizes(config: Config) -> MambaSizes:
    """The sizes of Jamba's and Zamba's Mamba, from their `mamba_*` fields."""
    hidden = config.size("hidden_size")
    return MambaSizes(
        config.size("mamba_expand") * hidden,
        config.size("mamba_d_state"),
        config.size("mamba_d_conv"),
        rank=dt_rank(config, "mamba_dt_rank", hidden),
    )


def mamba1(config: Config) -> Parts:
    """Mamba and Falcon Mamba (whose extra norms have no weights)."""
    hidden = config.size("hidden_size")
    inner = config.size("intermediate_size", default=config.scaled(hidden, "expand", default=2))
    block = norm("norm", hidden) + mamba(
        hidden,
        MambaSizes(
            inner,
            config.size("state_size"),
            config.size("conv_kernel"),
            rank=dt_rank(config, "time_step_rank", hidden),
        ),
        conv_bias=config.flag("use_conv_bias", default=True),
        bias=config.flag("use_bias"),
    )
    return causal_lm(
        config, [block] * config.layers(), Naming(prefix="backbone.", embed="embeddings", final_norm="norm_f")
    )


def hybrid_mamba2(
    config: Config, *, inner: int | None = None, gated_norm: bool = True, out_bias: bool | None = None
) -> Block:
    """The Mamba 2 mixer of Bamba, Falcon H1 and Granite 4, from their `mamba_*` fields."""
    hidden, heads = config.size("hidden_size"), config.size("mamba_n_heads")
    inner = config.size("mamba_expand") * hidden if inner is None else inner
    head_dim = inner // heads if config.get("mamba_d_head") in ("auto", None) else config.size("mamba_d_head")
    if heads * head_dim != inner:
        raise config.error("mamba_n_heads", f"Its heads must divide the {inner} inner channels exactly.")
    return mamba2(
        hidden,
        Mamba2Sizes(
            heads,
            head_dim,
            config.size("mamba_n_groups"),
            config.size("mamba_d_state"),
            config.size("mamba_d_conv"),
        ),
        prefix="mamba.",
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
        out_bias=out_bias,
        gated_norm=gated_norm,
    )


LINEAR_TYPES = ("linear_attention", "full_attention")


def interval_types(config: Config, count: int) -> Sequence[str]:
    """`layer_types` where it is given; else full attention on every nth layer, n from `full_attention_interval`."""
    types = config.layer_types(count)
    if types is None:
        every = config.size("full_attention_interval", default=4)
        types = tuple("linear_attention" if (index + 1) % every else "full_attention" for index in range(count))
    return mixer_types(config, "layer_types", types, LINEAR_TYPES)


def delta_sizes(config: Config, key_heads: int, value_heads: int, key_dim: int, value_dim: int) -> DeltaSizes:
    """The gated delta net's sizes, checked: key heads divide value heads."""
    if value_heads % key_heads:
        raise config.error("linear_num_value_heads", f"The {key_heads} key heads must divide it.")
    kernel = config.size("linear_conv_kernel_dim")
    return DeltaSizes(config.size("hidden_size"), key_heads, value_heads, key_dim, value_dim, kernel)


def sparse_layers(config: Config, count: int, dense_first: int) -> Sequence[bool]:
    """Which layers have experts: `mlp_layer_types`, else all but the first `first_k_dense_replace`."""
    types = config.layer_types(count, "mlp_layer_types")
    if types is not None:
        mixer_types(config, "mlp_layer_types", types, ("dense", "sparse"))
        return [kind == "sparse" for kind in types]
    dense = config.size("first_k_dense_replace", default=dense_first, minimum=0)
    return [index >= dense for index in range(count)]


def kimi_deltas(config: Config, types: Sequence[str], dense_first: int, delta: Block, full: Block) -> Parts:
    """Kimi delta attention and latent attention, DeepSeek's experts."""
    hidden, count = config.size("hidden_size"), len(types)
    mixer_types(config, "layer_types", types, LINEAR_TYPES)
    expert_count, inner = config.size("num_local_experts", "num_experts"), config.size("moe_intermediate_size")
    active = config.size("num_experts_per_tok", "num_experts_per_token")
    shared = inner * config.size("n_shared_experts", "num_shared_experts")
    sparse = router(hidden, expert_count) + experts(hidden, inner, expert_count, active)
    sparse += shared_expert(hidden, shared)

    def layer(kind: tuple[str, bool]) -> Block:
        block = full if kind[0] == "full_attention" else delta
        block += sparse if kind[1] else gated_mlp(hidden, config.size("intermediate_size"))
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    kinds = list(zip(types, sparse_layers(config, count, dense_first), strict=True))
    # These classes tie nothing, whatever the config says.
    return causal_lm(config, each_kind(kinds, layer), tied=False)
