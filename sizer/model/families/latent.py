"""Decoders with multi-head latent attention, dense or sparse: DeepSeek and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.families.experts import (
    FINE_GRAINED,
    TYPED_FINE_GRAINED,
    FirstDense,
    Mla,
    Moe,
    Mtp,
    indexer,
    sparse_mla,
)
from sizer.model.families.rules import UNBIASED, Mlp


def _indexed(config: Config, attention: Block, shared: Sequence[bool]) -> list[Block]:
    """Sparse latent attention on every layer; layers that share their selection have no indexer."""
    blocks = {flag: sparse_mla(attention, config, indexed=not flag) for flag in set(shared)}
    return [blocks[flag] for flag in shared]


def _every_indexed(config: Config, count: int) -> list[Block]:
    return _indexed(config, Mla().block(config), (False,) * count)


def _indexer_types(config: Config, count: int) -> tuple[str, ...] | None:
    return config.layer_types(count, "indexer_types")


DEEPSEEK_V3 = Decoder(Mla(), FINE_GRAINED, beyond=Mtp())


def shared_selections(config: Config, count: int) -> list[bool]:
    """GLM-5's layers without an indexer: `indexer_types`, a pattern of F and S, or all but every nth of a period."""
    kinds: Sequence[str] | None = _indexer_types(config, count)
    if kinds is None:
        pattern = config.first("index_topk_pattern")[1]
        if pattern is not None:
            if (
                not isinstance(pattern, (str, list, tuple))
                or len(pattern) != count
                or any(letter not in ("F", "S", "full", "shared") for letter in pattern)
            ):
                raise config.error("index_topk_pattern", f"It must have an F or S for each of {count} layers.")
            kinds = ["shared" if letter in ("S", "shared") else "full" for letter in pattern]
        else:
            every = config.size("index_topk_freq", default=1, minimum=0) or 1
            offset = config.size("index_skip_topk_offset", default=2, minimum=0)
            kinds = ["shared" if max(i - offset + 1, 0) % every else "full" for i in range(count)]
    return [kind == "shared" for kind in kinds]


def _glm_indexed(config: Config, count: int) -> list[Block]:
    return _indexed(config, Mla().block(config), shared_selections(config, count))


def _glm_mtp(config: Config, last: Block, count: int) -> tuple[Tensor, ...]:
    """GLM-5 stores its prediction layers without tables, and with an indexer even where the last layer shares one."""
    own = any(tensor.role is Role.INDEXER for tensor in last.tensors)
    return Mtp(tables=False)(config, last if own else last + indexer(config), count)


def _hy_v4_indexed(config: Config, count: int) -> list[Block]:
    """HY-V4: an indexer on the first layer and every fourth from the second; output gates and sinks."""
    kinds = _indexer_types(config, count)
    shared = [kind == "shared" for kind in kinds] if kinds else [i > 0 and (i - 1) % 4 > 0 for i in range(count)]
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    attention = Mla().block(config) + linear(
        "self_attn.gate_proj", heads * config.size("v_head_dim"), hidden, Role.GATE
    )
    return _indexed(config, attention + parameter("self_attn.sinks", heads), shared)


def hyper_connection(config: Config, name: str, rows: int, scales: int) -> Block:
    """Hyper-connections: the mixing matrix between `hc_mult` residual streams (arXiv:2409.19606)."""
    width = config.size("hc_mult") * config.size("hidden_size")
    return parameter(f"{name}.fn", rows, width) + parameter(f"{name}.base", rows) + parameter(f"{name}.scale", scales)


def _hyper_head(config: Config, prefix: str = "model.hc_head.hc_") -> Block:
    streams = config.size("hc_mult")
    return (
        parameter(prefix + "fn", streams, streams * config.size("hidden_size"))
        + parameter(prefix + "base", streams)
        + parameter(prefix + "scale", 1)
    )


def hy_v4(config: Config) -> Parts:
    """HY-V4: sparse latent attention, experts, and two hyper-connections a layer."""
    count, hidden = config.layers(), config.size("hidden_size")
    moe = replace(FINE_GRAINED, sparse=FirstDense(None, 1))
    more = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    for name in ("attn_hc", "ffn_hc"):
        more += hyper_connection(config, name, 2 * config.size("hc_mult"), 2)
    blocks = joined(_hy_v4_indexed(config, count), moe(config, count), (more,) * count)
    return causal_lm(config, blocks, extra=_hyper_head(config))


def axk2(config: Config) -> Parts:
    """A.X-K2: sparse latent attention whose query projection also makes the output gate; low-rank gated norms."""
    count, hidden, rank = config.layers(), config.size("hidden_size"), config.size("gated_norm_rank")
    heads, q_rank = config.size("num_attention_heads"), config.size("q_lora_rank")
    plain = Mla().block(config)
    width = heads * (plain.mixers[0].qk_head_dim + plain.mixers[0].v_head_dim)
    gate = linear("self_attn.q_gate_proj", width, 2 * q_rank, Role.Q_B)
    attention = Block(tuple(t for t in plain.tensors if t.role is not Role.Q_B), plain.mixers) + gate

    def gated_norm(name: str) -> Block:
        return (
            norm(f"{name}.norm", hidden)
            + linear(f"{name}.mlp.fc1", rank, hidden, Role.OTHER)
            + linear(f"{name}.mlp.fc2", hidden, rank, Role.OTHER)
        )

    moe = replace(FINE_GRAINED, sparse=FirstDense(first=1, every="moe_layer_freq"))
    sparse = moe.sparse(config, count)
    experts_norm, dense_norm = gated_norm(PRE_NORMS[1]), norm(PRE_NORMS[1], hidden)
    blocks = joined(
        _indexed(config, attention, (False,) * count),
        moe(config, count),
        (gated_norm(PRE_NORMS[0]),) * count,
        [experts_norm if is_sparse else dense_norm for is_sparse in sparse],
    )
    return causal_lm(config, blocks)


def longcat_flash(config: Config) -> Parts:
    """LongCat-Flash: each layer has two attentions and two dense MLPs beside one mixture of experts.

    The experts hold `zero_expert_num` more up projections than down projections: identity experts, as transformers
    allocates them.
    """
    count, hidden = config.layers("num_layers"), config.size("hidden_size")
    if config.fields.get("num_layers") is None and "num_hidden_layers" in config.fields:
        count = config.layers("num_hidden_layers") // 2
    routed, zero = config.size("n_routed_experts"), config.size("zero_expert_num", default=0, minimum=0)
    active, inner = config.size("moe_topk"), config.size("expert_ffn_hidden_size")
    if active > routed + zero:
        raise config.error("moe_topk", f"There are only {routed + zero} experts.")
    block = Block()
    attention = Mla().block(config)
    for index in range(2):
        for tensor in attention.tensors:
            name = tensor.name.replace("self_attn.", f"self_attn.{index}.")
            block += Block((replace(tensor, name=name),))
        block += Block(mixers=attention.mixers)
        block += gated_mlp(hidden, config.size("ffn_hidden_size"), prefix=f"mlps.{index}.")
        block += norm(f"input_layernorm.{index}", hidden) + norm(f"post_attention_layernorm.{index}", hidden)
    moe = Moe("n_routed_experts", "moe_topk", "expert_ffn_hidden_size").block(config)
    stacks = tuple(
        replace(tensor, shape=(routed + zero, inner, hidden)) if tensor.role is not Role.EXPERT_DOWN else tensor
        for tensor in moe.tensors
        if tensor.role is not Role.ROUTER
    )
    router = linear("mlp.router.classifier", routed + zero, hidden, Role.ROUTER, config.flag("router_bias"))
    return causal_lm(config, [block + Block(stacks, mlp=moe.mlp) + router] * count)


COMPRESSION = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
RATIO_NAMES = {0: "sliding_attention", 4: "compressed_sparse_attention", 128: "heavily_compressed_attention"}


def _v4_layer_types(config: Config, count: int) -> tuple[str, ...]:
    """DeepSeek-V4: `layer_types`, else the names of `compress_ratios`, else heavy twice and then alternating."""
    listed = config.sequence("layer_types")
    if listed is None and config.sequence("compress_ratios", int) is not None:
        ratios = config.sequence("compress_ratios", int) or ()
        if any(ratio not in RATIO_NAMES for ratio in ratios):
            raise config.error("compress_ratios", f"Each must be one of {', '.join(map(str, RATIO_NAMES))}.")
        listed = tuple(RATIO_NAMES[ratio] for ratio in ratios)
    if listed is None:
        heavy, light = "heavily_compressed_attention", "compressed_sparse_attention"
        listed = (heavy, heavy, *(light if index % 2 else heavy for index in range(max(count - 2, 0))))
    if len(listed) < count or any(kind not in (*COMPRESSION, "sliding_attention") for kind in listed):
        raise config.error("layer_types", f"It must name the kind of each of {count} layers.")
    return tuple(listed[:count])


def _v4_compressor(config: Config, prefix: str, size: int, rate: int, double: bool) -> Block:
    """Makes one cache entry of `rate` tokens; overlapping windows take twice the width."""
    hidden, width = config.size("hidden_size"), (2 if double else 1) * size
    return (
        linear(prefix + "kv_proj", width, hidden, Role.KV_A)
        + linear(prefix + "gate_proj", width, hidden, Role.OTHER)
        + parameter(prefix + "position_bias", rate, width)
        + norm(prefix + "kv_norm", size)
    )


def _v4_attention(config: Config, kind: str) -> Block:
    """DeepSeek-V4: one shared key-value head in a sliding window, and compressed entries of the whole context."""
    hidden, heads, size = config.size("hidden_size"), config.size("num_attention_heads"), config.size("head_dim")
    rank, groups, out_rank = config.size("q_lora_rank"), config.size("o_groups"), config.size("o_lora_rank")
    if heads * size % groups:
        raise config.error("o_groups", f"It must divide heads * head_dim ({heads * size}).")
    block = linear("self_attn.q_a_proj", rank, hidden, Role.Q_A) + norm("self_attn.q_a_norm", rank)
    block += linear("self_attn.q_b_proj", heads * size, rank, Role.Q_B)
    block += linear("self_attn.kv_proj", size, hidden, Role.KV_A) + norm("self_attn.kv_norm", size)
    block += linear(
        "self_attn.o_a_proj", groups * out_rank, heads * size // groups, Role.O, module=Module.LINEAR_SUBCLASS
    )
    block += linear("self_attn.o_b_proj", hidden, groups * out_rank, Role.O)
    block += parameter("self_attn.sinks", heads)
    window = Mixer(
        MixerKind.SLIDING, heads, 1, size, 0, config.size("sliding_window"), latent_elements=size
    )  # keys and values are the same vector
    if kind == "sliding_attention":
        return block + Block(mixers=(window,))
    return block + Block(mixers=(window,)) + _v4_compressed(config, kind, (heads, size))


def _v4_compressed(config: Config, kind: str, sizes: tuple[int, int]) -> Block:
    """The compressor of a layer (and the indexer of a sparse one), and the cache of its entries."""
    heads, size = sizes
    rates = Config({**COMPRESSION, **config.mapping("compress_rates")}, path="compress_rates.")
    old = {"compressed_sparse_attention": "compress_rate_csa", "heavily_compressed_attention": "compress_rate_hca"}
    rate = config.size(old[kind], default=rates.size(kind))
    sparse = kind == "compressed_sparse_attention"
    prefix = "self_attn.compressor."
    block = _v4_compressor(config, prefix, size, rate, sparse)
    selected, cached = None, 0
    if sparse:
        index_heads, cached = config.size("index_n_heads"), config.size("index_head_dim")
        selected = config.size("index_topk")
        inner = prefix + "indexer."
        block += _v4_compressor(config, inner, cached, rate, True)
        block += linear(inner + "q_b_proj", index_heads * cached, config.size("q_lora_rank"), Role.INDEXER)
        block += linear(inner + "scorer.weights_proj", index_heads, config.size("hidden_size"), Role.INDEXER)
    mixer = Mixer(
        MixerKind.MLA,
        heads,
        1,
        size,
        size,
        latent_elements=size,
        selected_tokens=selected,
        indexer_elements=cached,
        compression_tokens=rate,
    )
    return block + Block(mixers=(mixer,))


def _v4_mtp(config: Config, rest: Block, count: int) -> tuple[Tensor, ...]:
    """DeepSeek-V4's prediction layers: a layer, two projections and three norms, and a hyper-connection head.

    `rest` is a layer without its attention, whose kind `compress_ratios` gives behind those of the layers (published
    totals of V4-Flash and V4-Pro are met to the parameter so).
    """
    if config.fields.get("num_nextn_predict_layers") is None:
        return ()
    more = config.size("num_nextn_predict_layers", minimum=0, maximum=MAX_LAYERS)
    hidden = config.size("hidden_size")
    ratios = (config.sequence("compress_ratios", int) or ())[count : count + more]
    block = _v4_attention(config, RATIO_NAMES.get(ratios[0], "sliding_attention") if ratios else "sliding_attention")
    block += rest + linear("e_proj", hidden, hidden, Role.OTHER) + linear("h_proj", hidden, hidden, Role.OTHER)
    block += norm("enorm", hidden) + norm("hnorm", hidden) + norm("norm", hidden) + _hyper_head(config, "hc_head.hc_")
    stored = prefixed("", block, checkpoint_only=True)
    return on_layers("model.mtp.{layer}.", stored, range(more), Tower.MTP) if more else ()


def deepseek_v4(config: Config) -> Parts:
    """DeepSeek-V4: compressed attention, grouped low-rank output, experts on every layer, hyper-connections."""
    count, hidden, streams = config.layers(), config.size("hidden_size"), config.size("hc_mult")
    kinds = _v4_layer_types(config, count)
    attentions = {kind: _v4_attention(config, kind) for kind in set(kinds)}
    more = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    for name in ("attn_hc", "ffn_hc"):
        more += hyper_connection(config, name, (2 + streams) * streams, 3)
    moe = Moe("n_routed_experts", shared="moe_intermediate_size", shared_bias="mlp_bias").block(config)
    blocks = joined([attentions[kind] for kind in kinds], (moe + more,) * count)
    beyond = _v4_mtp(config, moe + more, count)
    return causal_lm(config, blocks, extra=_hyper_head(config), extra_tensors=beyond)


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "axk1": Decoder(
        Mla(),
        replace(
            FINE_GRAINED,
            sparse=FirstDense(first=1, every="moe_layer_freq"),
            plus=lambda config, _: norm("mlp.post_mlp_layernorm", config.size("hidden_size")),
        ),
    ),
    "axk2": axk2,
    "deepseek_v2": Decoder(Mla(), replace(FINE_GRAINED, shared_bias="mlp_bias", dense=Mlp())),
    "deepseek_v3": DEEPSEEK_V3,
    "deepseek_v32": Decoder(_every_indexed, TYPED_FINE_GRAINED, beyond=Mtp()),
    "deepseek_v4": deepseek_v4,
    "glm4_moe_lite": Decoder(Mla(), replace(FINE_GRAINED, sparse=FirstDense(None, 1)), beyond=Mtp()),
    "glm_moe_dsa": Decoder(_glm_indexed, TYPED_FINE_GRAINED, beyond=_glm_mtp),
    "hy_v4": hy_v4,
    "longcat_flash": longcat_flash,
    "minicpm3": Decoder(Mla(), Mlp()),
    "youtu": Decoder(Mla(), UNBIASED),
}
