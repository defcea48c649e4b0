"""DeepSeek's text models: DeepSeek-MoE 16B, V2, V3, V3.2, V4."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.experts import FINE_GRAINED, TYPED_FINE_GRAINED, FirstDense, Moe, Mtp
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import DEEPSEEK_V3, Mla, hyper_connection, hyper_head, indexed_layers
from sizer.model.shapes.rules import UNBIASED, Mlp


def _every_indexed(config: Config, count: int) -> list[Block]:
    return indexed_layers(config, Mla().block(config), (False,) * count)


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
    block += norm("enorm", hidden) + norm("hnorm", hidden) + norm("norm", hidden) + hyper_head(config, "hc_head.hc_")
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
    return causal_lm(config, blocks, extra=hyper_head(config), extra_tensors=beyond)


DEEPSEEK_16B = replace(FINE_GRAINED, sparse=FirstDense(typed=False, every="moe_layer_freq"))


def deepseek(config: Config) -> Parts:
    """DeepSeek-MoE 16B, the first of its line: plain attention; files without routed experts are dense."""
    sparse = config.optional_size("n_routed_experts", minimum=0)
    return Decoder(mlp=DEEPSEEK_16B if sparse else UNBIASED)(config)


FAMILIES: dict[str, Family] = {
    "deepseek_v2": Decoder(Mla(), replace(FINE_GRAINED, shared_bias="mlp_bias", dense=Mlp())),
    "deepseek_v3": DEEPSEEK_V3,
    "deepseek_v32": Decoder(_every_indexed, TYPED_FINE_GRAINED, beyond=Mtp()),
    "deepseek_v4": deepseek_v4,
    "deepseek": deepseek,
}
