"""Attention blocks: their projections, norms and what they keep in the cache."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.core import Block, linear, norm, parameter

SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Heads:
    """Sizes of an attention: heads of queries, those of keys and values, and the values of one (`v_head_dim` None: of
    values as of keys)."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int | None = None

    @property
    def v_dim(self) -> int:
        """The size of one head's values."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim


def attention_mixer(
    heads: int, kv_heads: int, qk_head_dim: int, v_head_dim: int | None = None, *,
    window: int | None = None, kind: MixerKind | None = None, shares_kv: bool = False,
) -> Mixer:  # fmt: skip
    """Softmax attention over all tokens, or over the last `window`."""
    kind = kind or (MixerKind.FULL if window is None else MixerKind.SLIDING)
    v_head_dim = qk_head_dim if v_head_dim is None else v_head_dim
    return Mixer(kind, heads, kv_heads, qk_head_dim, v_head_dim, window, shares_kv=shares_kv)


def attention(
    sizes: Heads,
    *,
    prefix: str = "self_attn.",
    names: Sequence[str] = SPLIT,
    bias: bool = False,
    k_bias: bool | None = None,
    o_bias: bool | None = None,
    window: int | None = None,
    kind: MixerKind | None = None,
    shares_kv: bool = False,
) -> Block:
    """Separate q, k, v and o projections (MHA, GQA or MQA). `bias` is that of q, k and v, and of o unless `o_bias`.

    A layer that shares another's KV cache (`shares_kv`) has no k and v projections. Norms of queries and keys and
    sinks are added to it (`head_norms`, `sinks`).
    """
    hidden, heads, kv_heads, head_dim, v_dim = sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, sizes.v_dim
    q, k, v, o = (prefix + name for name in names)
    block = linear(q, heads * head_dim, hidden, Role.Q, bias)
    if not shares_kv:
        block += linear(k, kv_heads * head_dim, hidden, Role.K, bias if k_bias is None else k_bias)
        block += linear(v, kv_heads * v_dim, hidden, Role.V, bias)
    block += linear(o, hidden, heads * v_dim, Role.O, bias if o_bias is None else o_bias)
    mixer = attention_mixer(heads, kv_heads, head_dim, v_dim, window=window, kind=kind, shares_kv=shares_kv)
    return block + Block(mixers=(mixer,))


def head_norms(norms: Sequence[tuple[str, int]], *, prefix: str = "self_attn.", bias: bool = False) -> Block:
    """Norms of queries and keys, by name and size."""
    return sum((norm(prefix + name, size, bias) for name, size in norms), Block())


def sinks(heads: int, *, prefix: str = "self_attn.") -> Block:
    """One learned logit a head, which takes a share of the attention."""
    return parameter(prefix + "sinks", heads)


def fused_attention(
    sizes: Heads,
    *,
    prefix: str = "attention.",
    names: tuple[str, str] = ("query_key_value", "dense"),
    bias: bool = False,
    o_bias: bool | None = None,
    window: int | None = None,
    module: Module = Module.LINEAR,
) -> Block:
    """One projection for q, k and v, and one for the output."""
    hidden, heads, kv_heads, head_dim = sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim
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
) -> Block:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): queries through a low rank or straight, keys and
    values through one latent of `kv_lora_rank` beside `rope` shared rotary dimensions; the cache holds that latent."""
    prefix = "self_attn."
    if q_lora_rank is None:
        block = linear(prefix + "q_proj", heads * (nope + rope), hidden, Role.Q)
    else:
        block = linear(prefix + "q_a_proj", q_lora_rank, hidden, Role.Q_A, bias)
        block += norm(prefix + "q_a_layernorm", q_lora_rank)
        block += linear(prefix + "q_b_proj", heads * (nope + rope), q_lora_rank, Role.Q_B)
    block += linear(prefix + "kv_a_proj_with_mqa", kv_lora_rank + rope, hidden, Role.KV_A, bias)
    block += norm(prefix + "kv_a_layernorm", kv_lora_rank)
    block += linear(prefix + "kv_b_proj", heads * (nope + v_head_dim), kv_lora_rank, Role.KV_B)
    block += linear(prefix + "o_proj", hidden, heads * v_head_dim, Role.O, bias)
    mixer = Mixer(MixerKind.MLA, heads, 1, nope + rope, v_head_dim, latent_elements=kv_lora_rank + rope)
    return block + Block(mixers=(mixer,))
