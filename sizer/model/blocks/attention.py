"""Attention blocks: their projections, norms and what they keep in the cache."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.core import Block, linear, norm, parameter

SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj")


def attention_mixer(
    heads: int, kv_heads: int, qk_head_dim: int, v_head_dim: int | None = None, *,
    window: int | None = None, kind: MixerKind | None = None, shares_kv: bool = False,
) -> Mixer:  # fmt: skip
    """Softmax attention over all tokens, or over the last `window`."""
    kind = kind or (MixerKind.FULL if window is None else MixerKind.SLIDING)
    v_head_dim = qk_head_dim if v_head_dim is None else v_head_dim
    return Mixer(kind, heads, kv_heads, qk_head_dim, v_head_dim, window, shares_kv=shares_kv)


def attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    v_head_dim: int | None = None,
    prefix: str = "self_attn.",
    names: Sequence[str] = SPLIT,
    bias: bool = False,
    k_bias: bool | None = None,
    o_bias: bool | None = None,
    norms: Sequence[tuple[str, int]] = (),
    norm_bias: bool = False,
    sinks: bool = False,
    window: int | None = None,
    kind: MixerKind | None = None,
    shares_kv: bool = False,
    module: Module = Module.LINEAR,
) -> Block:
    """Separate q, k, v and o projections (MHA, GQA or MQA). `bias` is that of q, k and v, and of o unless `o_bias`.

    `norms` are (name, size) of the q/k norms; `sinks` one learned logit a head. A layer that shares another's KV
    cache (`shares_kv`) has no k and v projections.
    """
    v_dim = head_dim if v_head_dim is None else v_head_dim
    q, k, v, o = (prefix + name for name in names)
    block = linear(q, heads * head_dim, hidden, Role.Q, bias, module=module)
    if not shares_kv:
        block += linear(k, kv_heads * head_dim, hidden, Role.K, bias if k_bias is None else k_bias, module=module)
        block += linear(v, kv_heads * v_dim, hidden, Role.V, bias, module=module)
    block += linear(o, hidden, heads * v_dim, Role.O, bias if o_bias is None else o_bias, module=module)
    for name, size in norms:
        block += norm(prefix + name, size, norm_bias)
    if sinks:
        block += parameter(prefix + "sinks", heads)
    mixer = attention_mixer(heads, kv_heads, head_dim, v_dim, window=window, kind=kind, shares_kv=shares_kv)
    return block + Block(mixers=(mixer,))


def fused_attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    prefix: str = "attention.",
    names: tuple[str, str] = ("query_key_value", "dense"),
    bias: bool = False,
    o_bias: bool | None = None,
    window: int | None = None,
    module: Module = Module.LINEAR,
) -> Block:
    """One projection for q, k and v, and one for the output."""
    rows = (heads + 2 * kv_heads) * head_dim
    return (
        linear(prefix + names[0], rows, hidden, Role.QKV, bias, module=module)
        + linear(prefix + names[1], hidden, heads * head_dim, Role.O, bias if o_bias is None else o_bias, module=module)
        + Block(mixers=(attention_mixer(heads, kv_heads, head_dim, window=window),))
    )


def mla(
    hidden: int,
    heads: int,
    *,
    q_lora_rank: int | None,
    kv_lora_rank: int,
    nope: int,
    rope: int,
    v_head_dim: int,
    bias: bool = False,
    o_bias: bool | None = None,
    prefix: str = "self_attn.",
) -> Block:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): queries through a low rank or straight, keys and
    values through one latent of `kv_lora_rank` beside `rope` shared rotary dimensions; the cache holds that latent."""
    if q_lora_rank is None:
        block = linear(prefix + "q_proj", heads * (nope + rope), hidden, Role.Q)
    else:
        block = linear(prefix + "q_a_proj", q_lora_rank, hidden, Role.Q_A, bias)
        block += norm(prefix + "q_a_layernorm", q_lora_rank)
        block += linear(prefix + "q_b_proj", heads * (nope + rope), q_lora_rank, Role.Q_B)
    block += linear(prefix + "kv_a_proj_with_mqa", kv_lora_rank + rope, hidden, Role.KV_A, bias)
    block += norm(prefix + "kv_a_layernorm", kv_lora_rank)
    block += linear(prefix + "kv_b_proj", heads * (nope + v_head_dim), kv_lora_rank, Role.KV_B)
    block += linear(prefix + "o_proj", hidden, heads * v_head_dim, Role.O, bias if o_bias is None else o_bias)
    mixer = Mixer(MixerKind.MLA, heads, 1, nope + rope, v_head_dim, latent_elements=kv_lora_rank + rope)
    return block + Block(mixers=(mixer,))
