"""Mixtures of experts whose code ships with their weights (trust_remote_code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MlpKind, Role
from sizer.model.blocks.attention import attention, fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import Config
from sizer.model.families import describe
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.families.experts import FINE_GRAINED, FirstDense, Moe, shared_mlp
from sizer.model.families.hybrid_linear import minimax as lightning_minimax
from sizer.model.families.latent import DEEPSEEK_V3
from sizer.model.families.multimodal_more import step3p5
from sizer.model.families.remote import Family, named
from sizer.model.families.rules import UNBIASED, Attention, Mlp, heads

DEEPSEEK_16B = replace(FINE_GRAINED, sparse=FirstDense(typed=False, every="moe_layer_freq"))


def deepseek(config: Config) -> Parts:
    """DeepSeek-MoE 16B, the first of its line: plain attention; files without routed experts are dense."""
    sparse = config.optional_size("n_routed_experts", minimum=0)
    return Decoder(mlp=DEEPSEEK_16B if sparse else UNBIASED)(config)


def minicpm(config: Config) -> Parts:
    """MiniCPM 1, 2 and 4: Llama's shape, tied unless the file says otherwise; with `num_experts`, MiniCPM-MoE."""
    config = named(config, {}, tie_word_embeddings=True)
    moe = bool(config.optional_size("num_experts", minimum=0))
    return Decoder(mlp=Moe(inner="intermediate_size") if moe else UNBIASED)(config)


def bailing(config: Config) -> Parts:
    """Ling, Ring and LLaDA 2: fused attention, experts beside shared ones; version 2 norms queries and keys."""
    sizes, count, bias = heads(config), config.layers(), config.flag("use_bias")
    block = fused_attention(
        sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim,
        bias=config.flag("use_qkv_bias"), o_bias=bias,
    )  # fmt: skip
    if config.flag("use_qk_norm"):
        block += norm("attention.query_layernorm", sizes.head_dim) + norm("attention.key_layernorm", sizes.head_dim)
    shared = config.optional_size("num_shared_experts", minimum=0)
    moe = Moe(
        sparse=FirstDense(first=0, typed=False),
        dense=Mlp(bias="use_bias"),
        shared=("moe_intermediate_size", "num_shared_experts") if shared else None,
    )
    norms = norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    return causal_lm(config, joined((block,) * count, moe(config, count), (norms,) * count), embed="word_embeddings")


def _listed(config: Config, field: str, count: int) -> tuple[int, ...]:
    """A size that is one number for all layers, or a list of one for each."""
    value = config.first(field)[1]
    if not isinstance(value, (list, tuple)):
        return (config.size(field),) * count
    if len(value) < count:
        raise config.error(field, f"It must have one entry for each of {count} layers.")
    return tuple(Config({field: entry}, path=config.path).size(field) for entry in value[:count])


def hunyuan(config: Config) -> Parts:
    """Hunyuan as Tencent ships it: dense, or experts beside a shared MLP; layers may share keys and values."""
    sizes, count = heads(config), config.layers()
    share = config.size("cla_share_factor", default=1) if config.flag("use_cla") else 1
    own, borrowed = (_hunyuan_attention(config, shares) for shares in (False, True))
    norms = norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    attentions = [borrowed if index % share else own for index in range(count)]
    return causal_lm(config, joined(attentions, _hunyuan_mlp(config, count), (norms,) * count))


def _hunyuan_attention(config: Config, shares: bool) -> Block:
    sizes, bias = heads(config), config.flag("attention_bias")
    names = [("query_layernorm", sizes.head_dim)] + ([] if shares else [("key_layernorm", sizes.head_dim)])
    return attention(
        sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, bias=bias, shares_kv=shares,
        norms=tuple(names) if config.flag("use_qk_norm") else (),
    )  # fmt: skip


def _hunyuan_mlp(config: Config, count: int) -> Sequence[Block]:
    hidden, bias = config.size("hidden_size"), config.flag("mlp_bias")
    experts = _listed(config, "num_experts", count) if config.first("num_experts")[1] is not None else (1,) * count
    if max(experts) == 1:
        return (gated_mlp(hidden, config.size("intermediate_size"), bias=bias),) * count
    inner_field = "moe_intermediate_size" if config.first("moe_intermediate_size")[1] else "intermediate_size"
    shared_field = "num_shared_expert"
    shared = _listed(config, shared_field, count) if config.first(shared_field)[1] not in (None, 0) else (0,) * count
    kinds = list(
        zip(experts, _listed(config, "moe_topk", count), _listed(config, inner_field, count), shared, strict=True)
    )
    made = {kind: _hunyuan_experts(config, *kind) for kind in dict.fromkeys(kinds)}
    return [made[kind] for kind in kinds]


def _hunyuan_experts(config: Config, experts: int, active: int, inner: int, shared: int) -> Block:
    fields = {**config.fields, "num_experts": experts, "moe_topk": active, "moe_intermediate_size": inner}
    layer = Config(fields, config.class_defaults, config.path)
    block = Moe("num_experts", "moe_topk", "moe_intermediate_size", router="gate.wg", router_linear=True).block(layer)
    if shared and config.flag("use_mixed_mlp_moe"):
        block += shared_mlp(config, shared * config.size("intermediate_size"), "mlp.shared_mlp.")
    return block


def minimax01(config: Config) -> Parts:
    """MiniMax-Text-01 and M1: lightning attention but for every layer whose `attn_type_list` entry is 1."""
    count, kinds = config.layers(), config.sequence("attn_type_list")
    if kinds is None or len(kinds) < count:
        raise config.error("attn_type_list", f"It must have a 0 or 1 for each of {count} layers.")
    types = ["full_attention" if kind == 1 else "linear_attention" for kind in kinds[:count]]
    fields = {**config.fields, "layer_types": types}
    return lightning_minimax(Config(fields, config.class_defaults, config.path))


def minimax_m3(config: Config) -> Parts:
    """The text part of MiniMax-M3 alone."""
    return describe(Config.of(config.fields, "minimax_m3_vl_text"), "minimax_m3_vl_text")


def grok1(config: Config) -> Parts:
    """Grok-1: experts on every layer, a norm before and after each half of it."""
    sizes, count = heads(config), config.layers()
    block = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, prefix="attn.")
    moe = Moe("num_experts", inner="intermediate_size", prefix="moe_block.", names=("linear_v", "linear", "linear_1"))
    layer = block + moe.block(config)
    for name in ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"):
        layer += norm(name, sizes.hidden)
    return causal_lm(config, [layer] * count)


def arctic(config: Config) -> Parts:
    """Snowflake Arctic: a dense residual MLP beside the experts of every `moe_layer_frequency`th layer."""
    sizes, count = heads(config), config.layers()
    every = config.size("moe_layer_frequency", default=1)
    block = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim)
    block += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    parallel = config.flag("parallel_attn_mlp_res")
    names = ("w1", "w3", "w2")
    moe = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=names)
    sparse = block + moe.block(config)
    if parallel:
        sparse += norm("residual_layernorm", sizes.hidden)
        sparse += gated_mlp(sizes.hidden, sizes.hidden, prefix="residual_mlp.", names=names)
    inner = config.size("intermediate_size")
    dense = block + gated_mlp(sizes.hidden, inner, prefix="block_sparse_moe.mlp.", names=names)
    return causal_lm(config, [sparse if (index + 1) % every == 0 else dense for index in range(count)])


def step3(config: Config) -> Parts:
    """Step-3: queries through a low rank, one key-value head a group, experts from `moe_layers_enum` on."""
    hidden, count, size = config.size("hidden_size"), config.layers(), config.size("head_dim")
    rank, queries = config.size("share_q_dim"), config.size("num_attention_heads")
    groups = config.size("num_attention_groups", default=1)
    whole = attention(hidden, queries, groups, size)
    block = linear("self_attn.q_proj", rank, hidden, Role.Q_A) + norm("self_attn.inter_norm", rank)
    block += linear("self_attn.wq", queries * size, rank, Role.Q_B)
    block += Block(tuple(t for t in whole.tensors if t.role is not Role.Q), whole.mixers)
    block += norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    text = config.text("moe_layers_enum")
    if text and not all(part.strip().isdigit() for part in text.split(",")):
        raise config.error("moe_layers_enum", "It must be a list of layer numbers, parted by commas.")
    sparse = {int(part) for part in text.split(",")} if text else set(range(1, count))
    moe = Moe("moe_num_experts", "moe_top_k", prefix="moe.", stack="").block(config)
    moe += shared_mlp(config, config.size("share_expert_dim"), "share_expert.")
    dense = gated_mlp(hidden, config.size("intermediate_size"))
    assert moe.mlp is MlpKind.MOE
    return causal_lm(config, [block + (moe if index in sparse else dense) for index in range(count)])


def _residual_mlp(config: Config, _experts: int) -> Block:
    """Grok-2's dense MLP beside the experts, where `residual_moe` says so."""
    if not config.flag("residual_moe"):
        return Block()
    return shared_mlp(config, config.size("intermediate_size"), "mlp.")


def grok2(config: Config) -> Parts:
    """Grok-2: experts beside a dense MLP on every layer, a norm before and after each half of it."""
    moe = Moe("num_local_experts", prefix="block_sparse_moe.", names=("w1", "w3", "w2"), plus=_residual_mlp)
    norms = ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm")
    return Decoder(Attention(bias=False), moe, norms)(config)


FAMILIES: dict[str, Family] = {
    "deepseek": deepseek,
    "minicpm": minicpm,
    "bailing_moe": bailing,
    "bailing_moe_v2": bailing,
    "llada2_moe": bailing,
    "sarvam_moe": bailing,
    "hunyuan": hunyuan,
    "minimax_text_01": minimax01,
    "minimax_m1": minimax01,
    "minimax_m3": minimax_m3,
    "grok-1": grok1,
    "grok-2": grok2,
    "arctic": arctic,
    "step3_text": step3,
    "step3p5": step3p5,
    "kimi_k2": DEEPSEEK_V3,
}
