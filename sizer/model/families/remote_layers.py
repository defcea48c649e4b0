"""Decoders whose code ships with their weights and whose layers differ in width from one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.model.architecture import MlpKind, Role
from sizer.model.blocks.attention import attention, fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, causal_lm
from sizer.model.families.remote import Family


def openelm(config: Config) -> Parts:
    """OpenELM: heads and MLP width grow with depth; the file lists them, or the multipliers that give them."""
    hidden, size, count = config.size("model_dim"), config.size("head_dim"), config.layers("num_transformer_layers")
    queries, keys = config.sequence("num_query_heads") or (), config.sequence("num_kv_heads") or ()
    multipliers = config.sequence("ffn_multipliers") or ()
    divisor = config.size("ffn_dim_divisor", default=256)
    for name, listed in (("num_query_heads", queries), ("num_kv_heads", keys), ("ffn_multipliers", multipliers)):
        if len(listed) != count or not all(isinstance(value, (int, float)) and value > 0 for value in listed):
            raise config.error(name, f"It must be a list of {count} numbers, one for each layer.")
    made: dict[tuple[int, int, int], Block] = {}
    blocks = []
    for query, key, multiplier in zip(queries, keys, multipliers, strict=True):
        inner = _divisible(multiplier * hidden, divisor)
        kind = (int(query), int(key), inner)
        if kind not in made:
            made[kind] = _openelm_layer(config, hidden, size, kind)
        blocks.append(made[kind])
    return causal_lm(
        config, blocks, prefix="transformer.", embed="token_embeddings", hidden=hidden,
        tied=config.flag("share_input_output_layers", default=True),
    )  # fmt: skip


def _divisible(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, but no more than a tenth below it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _openelm_layer(config: Config, hidden: int, size: int, kind: tuple[int, int, int]) -> Block:
    query, key, inner = kind
    block = fused_attention(hidden, query, key, size, prefix="attn.", names=("qkv_proj", "out_proj"))
    if config.flag("normalize_qk_projections"):
        block += norm("attn.q_norm", size) + norm("attn.k_norm", size)
    gated = config.flag("ffn_with_glu", default=True)
    block += Block(mlp=MlpKind.DENSE)
    block += linear("ffn.proj_1", (2 if gated else 1) * inner, hidden, Role.GATE_UP if gated else Role.UP)
    block += linear("ffn.proj_2", hidden, inner, Role.DOWN)
    return block + norm("attn_norm", hidden) + norm("ffn_norm", hidden)


def decilm(config: Config) -> Parts:
    """DeciLM, NVIDIA's Nemotron-NAS: `block_configs` gives each layer its KV heads and MLP width, or none."""
    hidden, count = config.size("hidden_size"), config.size("num_attention_heads")
    listed = config.sequence("block_configs")
    if listed is None or len(listed) != config.layers():
        raise config.error("block_configs", f"It must have one entry for each of {config.layers()} layers.")
    made: dict[tuple[Any, ...], Block] = {}
    blocks = []
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise config.error("block_configs", "Each entry must be an object.")
        layer = Config(entry, path=config.path + "block_configs.")
        mixer, mlp = layer.sub("attention"), layer.sub("ffn")
        kind = tuple(
            part.first(name)[1] for part, name in (
                (mixer, "no_op"), (mixer, "replace_with_linear"), (mixer, "n_heads_in_group"), (mixer, "window_length"),
                (mlp, "no_op"), (mlp, "replace_with_linear"), (mlp, "ffn_mult"), (mlp, "intermediate_size"),
            )
        )  # fmt: skip
        if kind not in made:
            made[kind] = _decilm_attention(config, mixer, hidden, count) + _decilm_mlp(config, mlp, hidden)
        blocks.append(made[kind])
    return causal_lm(config, blocks)


def _decilm_attention(config: Config, mixer: Config, hidden: int, count: int) -> Block:
    if mixer.flag("no_op"):
        return Block()
    block = norm(PRE_NORMS[0], hidden)
    bias = config.flag("attention_bias")
    if mixer.flag("replace_with_linear"):
        return block + linear("self_attn.linear_attn", hidden, hidden, Role.O, bias)
    group = mixer.size("n_heads_in_group")
    if count % group or hidden % count:
        raise mixer.error("n_heads_in_group", f"It must divide num_attention_heads ({count}).")
    size = config.size("head_dim", default=hidden // count)
    window = mixer.optional_size("window_length")
    return block + attention(hidden, count, count // group, size, bias=bias, window=window)


def _decilm_mlp(config: Config, mlp: Config, hidden: int) -> Block:
    if mlp.flag("no_op"):
        return Block()
    block = norm(PRE_NORMS[1], hidden)
    if mlp.flag("replace_with_linear"):
        return block + Block(mlp=MlpKind.DENSE) + linear("mlp.linear_mlp", hidden, hidden, Role.UP)
    inner = mlp.optional_size("intermediate_size")
    if inner is None:
        # As the repository's code: two thirds of a multiple of the hidden size, rounded up to a multiple of 256.
        inner = -(-int(2 * mlp.number("ffn_mult", default=0.0) * hidden / 3) // 256) * 256
    return block + gated_mlp(hidden, inner, bias=config.flag("mlp_bias"))


FAMILIES: dict[str, Family] = {"openelm": openelm, "nemotron-nas": decilm, "deci": decilm}
