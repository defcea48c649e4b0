"""Decoders that share little with the others: DBRX, JetMoE, Moshi, BLT, MusicGen, MiniMax-M3, dots.note."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sizer.model.architecture import Layer, Mixer, MixerKind, MlpKind, Role, Tensor, Tower
from sizer.model.blocks.attention import attention, attention_mixer, fused_attention
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter
from sizer.model.blocks.mlp import MOE, expert_stack, experts, fused_mlp, gated_mlp, plain_mlp, router
from sizer.model.config import MAX_COUNT, Config
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.families.experts import FirstDense, Mla, Moe, sparse_mla
from sizer.model.families.rules import Attention, Mlp, heads
from sizer.model.families.windows import one_window

OUT_NAMES = ("q_proj", "k_proj", "v_proj", "out_proj")


def _active(config: Config, field: str, count: int) -> int:
    active = config.size(field)
    if active > count:
        raise config.error(field, f"There are only {count} experts.")
    return active


def dbrx(config: Config) -> Parts:
    """DBRX: attention and experts configured apart; norms without bias."""
    hidden, number = config.size("hidden_size"), config.size("num_attention_heads")
    attn, ffn = config.sub("attn_config"), config.sub("ffn_config")
    if hidden % number:
        raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    kv_heads, count = attn.size("kv_n_heads"), ffn.size("moe_num_experts")
    if number % kv_heads:
        raise attn.error("kv_n_heads", f"It must divide the number of heads ({number}).")
    active, inner = _active(ffn, "moe_top_k", count), ffn.size("ffn_hidden_size")
    block = fused_attention(
        hidden, number, kv_heads, hidden // number, prefix="norm_attn_norm.attn.", names=("Wqkv", "out_proj")
    )
    block += norm("norm_attn_norm.norm_1", hidden) + norm("norm_attn_norm.norm_2", hidden)
    block += router(hidden, count, name="ffn.router.layer", linear_module=True)
    block += experts(hidden, inner, count, active, prefix="ffn.experts.mlp.", names=("w1", "v1", "w2"))
    return causal_lm(
        config,
        [block] * config.layers(),
        prefix="transformer.",
        layers="blocks.{layer}.",
        embed="wte",
        final_norm="norm_f",
    )


def jetmoe(config: Config) -> Parts:
    """JetMoE: experts in the attention too: each token's queries and outputs go through those it is routed to."""
    hidden, kv_heads, size = config.size("hidden_size"), config.size("num_key_value_heads"), config.size("kv_channels")
    count, inner, width = config.size("num_local_experts"), config.size("intermediate_size"), kv_heads * size
    active = _active(config, "num_experts_per_tok", count)
    prefix = "self_attention.experts."
    block = Block(
        (
            expert_stack(prefix + "input_linear.weight", count, active, width, hidden, role=Role.EXPERT_UP),
            expert_stack(prefix + "output_linear.weight", count, active, hidden, width, role=Role.EXPERT_DOWN),
            expert_stack("mlp.input_linear.weight", count, active, 2 * inner, hidden, role=Role.EXPERT_GATE_UP),
            expert_stack("mlp.output_linear.weight", count, active, hidden, inner, role=Role.EXPERT_DOWN),
        ),
        (attention_mixer(kv_heads * active, kv_heads, size),),
    )
    for module in (prefix, "mlp."):
        block += router(hidden, count, name=module + "router.layer", linear_module=True)
        block += parameter(module + "bias", hidden, role=Role.BIAS)
    block += linear("self_attention.kv_proj", 2 * width, hidden, Role.QKV) + MOE
    block += norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    return causal_lm(config, [block] * config.layers())


def moshi(config: Config) -> Parts:
    """Moshi's text decoder: one more embedding row than the vocabulary, gate and up in one matrix."""
    hidden, inner, vocab = config.size("hidden_size"), config.size("ffn_dim"), config.size("vocab_size")
    if inner % 2:
        raise config.error("ffn_dim", "It must be even: half of it is the gate.")
    names = ("q_proj.linear", "k_proj.linear", "v_proj.linear", "o_proj.linear")
    count = config.layers()
    mlp = fused_mlp(hidden, inner // 2, names=("fc1", "fc2"))
    norms = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    rule = Attention(False, names=names, windows=one_window)
    blocks = joined(rule(config, count), (mlp,) * count, (norms,) * count)
    parts = causal_lm(config, blocks, vocab=vocab + 1, tied=True)
    head = linear("lm_head", vocab, hidden, Role.LM_HEAD).tensors
    return replace(parts, tensors=parts.tensors + head, vocab_size=vocab, tied=False)


def musicgen(config: Config) -> Parts:
    """MusicGen's decoder: an embedding and a head for each codebook, attention to the text encoder."""
    own = config.sub("decoder") if config.class_defaults.sub_configs else config
    hidden, number, vocab = own.size("hidden_size"), own.size("num_attention_heads"), own.size("vocab_size")
    books, melody = own.size("num_codebooks", maximum=MAX_COUNT), "melody" in own.class_defaults.model_type
    if hidden % number:
        raise own.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    size = hidden // number
    block = attention(hidden, number, number, size, names=OUT_NAMES)
    block += norm("self_attn_layer_norm", hidden, True) + norm("final_layer_norm", hidden, True)
    if not melody:
        for name, role in zip(OUT_NAMES, (Role.Q, Role.K, Role.V, Role.O), strict=True):
            block += linear(f"encoder_attn.{name}", hidden, hidden, role)
        block += norm("encoder_attn_layer_norm", hidden, True)
        block += Block(mixers=(Mixer(MixerKind.CROSS, number, number, size, size),))
    block += plain_mlp(hidden, own.size("ffn_dim"), prefix="", names=("fc1", "fc2"))
    extra = Block()
    for book in range(1, books):
        extra += embedding(f"model.decoder.embed_tokens.{book}", vocab + 1, hidden)
    for book in range(books):
        extra += linear(f"lm_heads.{book}", vocab, hidden, Role.LM_HEAD)
    parts = causal_lm(
        own,
        [block] * own.layers(),
        prefix="model.decoder.",
        embed="embed_tokens.0",
        final_norm="layer_norm",
        norm_bias=True,
        extra=extra,
        vocab=vocab + 1,
        tied=True,
    )
    return replace(parts, vocab_size=vocab, tied=False)


def _blt_layers(config: Config, prefix: str, *, main: bool) -> tuple[tuple[Tensor, ...], Layer]:
    """One of BLT's stacks of Llama-like layers, and what one of its layers is."""
    sizes = heads(config, head_dim_field=False)
    inner = config.optional_size("intermediate_size") or int(8 * sizes.hidden / 3)
    window = config.optional_size("sliding_window")
    block = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, window=window)
    block += gated_mlp(sizes.hidden, inner) + norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    tower = Tower.TEXT if main else Tower.ENCODER
    tensors = on_layers(prefix + "layers.{layer}.", block, range(config.layers()), tower)
    return tensors, Layer(0, block.mixers, MlpKind.DENSE)


def _blt_local(config: Config, prefix: str, into: int) -> tuple[Tensor, ...]:
    """The cross-attention of a local encoder or decoder, and the projection of its patches."""
    sizes = heads(config, head_dim_field=False)
    block = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, prefix="")
    block += norm("q_norm", sizes.hidden) + norm("k_norm", sizes.hidden)
    count = config.layers() if config.flag("cross_attn_all_layers") else 1
    width = sizes.hidden * config.size("cross_attn_k")
    patches = linear(prefix + "patch_embedding_projection", width, into, Role.OTHER)
    return on_layers(prefix + "cross_attn_layers.{layer}.", block, range(count)) + patches.tensors


def blt(config: Config) -> Parts:
    """Byte Latent Transformer: a local encoder and decoder over bytes around a transformer over patches.

    The layers listed are those of all three, in order; the global ones run once a patch, not once a byte.
    """
    encoder, decoder = config.sub("encoder_config"), config.sub("decoder_config")
    middle, patcher = config.sub("global_config"), config.sub("patcher_config")
    encoder = Config(
        {**encoder.fields, "sliding_window": config.optional_size("local_attention_window_len")},
        encoder.class_defaults,
        encoder.path,
    )
    tensors: tuple[Tensor, ...] = ()
    layers: list[Layer] = []
    for part, prefix in ((encoder, "local_encoder"), (middle, "global_transformer"), (decoder, "local_decoder")):
        own, layer = _blt_layers(part, f"model.{prefix}.", main=True)
        tensors += own
        layers += [replace(layer, index=len(layers) + place) for place in range(part.layers())]
    width, vocab = decoder.size("hidden_size"), config.size("vocab_size")
    tensors += _blt_local(encoder, "model.local_encoder.", encoder.size("hidden_size"))
    tensors += _blt_local(decoder, "model.local_decoder.", decoder.size("hidden_size_global"))
    tied = config.flag("tie_word_embeddings")
    rows = (vocab, width) if tied else (encoder.size("vocab_size"), encoder.size("hidden_size"))
    outside = embedding("model.local_encoder.embed_tokens", *rows)
    outside += norm("model.local_decoder.norm", width)
    outside += _blt_hashes(config, encoder) + _blt_bridge(config, encoder, middle)
    outside += Block() if tied else linear("lm_head", vocab, width, Role.LM_HEAD)
    if config.flag("patch_in_forward"):
        own, _ = _blt_layers(patcher, "model.patcher.", main=False)
        tensors += own + _blt_patcher_tables(patcher)
    return Parts(outside.tensors + tensors, tuple(layers), width, vocab, tied)


def _blt_patcher_tables(patcher: Config) -> tuple[Tensor, ...]:
    hidden, vocab = patcher.size("hidden_size"), patcher.size("vocab_size")
    block = embedding("model.patcher.embed_tokens", vocab, hidden) + norm("model.patcher.norm", hidden)
    block += linear("model.patcher.lm_head", vocab, hidden, Role.LM_HEAD)
    return tuple(replace(tensor, tower=Tower.ENCODER) for tensor in block.tensors)


def _blt_hashes(config: Config, encoder: Config) -> Block:
    """The table of hashed byte groups."""
    groups = config.sequence("encoder_hash_byte_group_size") or (3, 4, 5, 6, 7, 8)
    rows = config.size("encoder_hash_byte_group_vocab") * config.size("encoder_hash_byte_group_nb_functions")
    return embedding("model.encoder_hash_tok_embedding", rows * len(groups), encoder.size("hidden_size"))


def _blt_bridge(config: Config, encoder: Config, middle: Config) -> Block:
    """The projection into the global transformer, where the widths differ."""
    width, hidden = encoder.size("hidden_size") * config.size("cross_attn_k"), middle.size("hidden_size")
    if width == hidden:
        return Block()
    return linear("model.global_transformer.token_embedding_projection", hidden, width, Role.OTHER)


def _listed(config: Config, name: str, count: int, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise config.error(name, f"It must have one entry for each of {count} layers.")
    return tuple(value)


def _m3_attention(config: Config, count: int) -> Sequence[Block]:
    """MiniMax-M3: block-sparse attention on the layers that have a lightning indexer."""
    old = config.mapping("sparse_attention_config")
    names = {
        "index_n_heads": "sparse_num_index_heads",
        "index_head_dim": "sparse_index_dim",
        "index_block_size": "sparse_block_size",
        "index_topk_blocks": "sparse_topk_blocks",
    }
    given = {name: old[legacy] for name, legacy in names.items() if legacy in old}
    index = Config({**config.fields, **given}, config.class_defaults, config.path)
    index.written |= {name: f"sparse_attention_config.{names[name]}" for name in given}
    types = config.layer_types(count)
    if types is None:
        within = config.sub("sparse_attention_config")
        flags = _listed(within, "sparse_attention_freq", count, old.get("sparse_attention_freq", (0,) * count))
        types = tuple("minimax_m3_sparse" if sparse else "full_attention" for sparse in flags)
    if set(types) - {"minimax_m3_sparse", "full_attention"}:
        raise config.error("layer_types", "Each must be full_attention or minimax_m3_sparse.")
    full = Attention(False, qk_norm="head")(config, 1)[0]
    blocks = {"full_attention": full}
    if "minimax_m3_sparse" in types:
        blocks["minimax_m3_sparse"] = _m3_sparse(index, full)
    return [blocks[kind] for kind in types]


def _m3_sparse(config: Config, full: Block) -> Block:
    number, size, hidden = (config.size(n) for n in ("index_n_heads", "index_head_dim", "hidden_size"))
    selected = config.size("index_topk_blocks") * config.size("index_block_size")
    mixer = replace(full.mixers[0], selected_tokens=selected, indexer_elements=size)
    prefix = "self_attn.indexer."
    block = linear(prefix + "q_proj", number * size, hidden, Role.INDEXER)
    block += linear(prefix + "k_proj", size, hidden, Role.INDEXER)
    return replace(full, mixers=(mixer,)) + block + norm(prefix + "q_norm", size) + norm(prefix + "k_norm", size)


def _m3_mlp(config: Config, count: int) -> Sequence[Block]:
    """MiniMax-M3: experts and a fused shared expert, or a fused MLP, by `mlp_layer_types` or `moe_layer_freq`."""
    types = config.layer_types(count, "mlp_layer_types")
    flags = [kind == "sparse" for kind in types] if types else [True] * count
    frequency = config.first("moe_layer_freq")[1]
    if types is None and frequency is not None:
        flags = [bool(value) for value in _listed(config, "moe_layer_freq", count, frequency)]
    hidden = config.size("hidden_size")
    moe = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=("w1", "w3", "w2"))
    roles = (Role.SHARED_GATE_UP, Role.SHARED_DOWN)
    inner = config.size("shared_intermediate_size", minimum=0)
    shared = fused_mlp(hidden, inner, prefix="mlp.shared_experts.", roles=roles) if inner else Block()
    routed = moe.block(config) + shared if any(flags) else Block()
    dense = Block() if all(flags) else fused_mlp(hidden, config.size("dense_intermediate_size"))
    return [routed if sparse else dense for sparse in flags]


def _dots_sparse(config: Config, count: int) -> Sequence[bool]:
    """dots.note: `moe_layer_freq` may be a list of flags."""
    frequency = config.fields.get("moe_layer_freq")
    if isinstance(frequency, (list, tuple)) and config.sequence("mlp_layer_types") is None:
        first = config.size("first_k_dense_replace", default=1, minimum=0)
        flags = _listed(config, "moe_layer_freq", count, frequency)
        return [index >= first and bool(value) for index, value in enumerate(flags)]
    return FirstDense(first=1, every="moe_layer_freq")(config, count)


def _dots_types(config: Config, count: int) -> tuple[str, ...]:
    """dots.note: the kind of each layer; `use_dsa` turns full attention into indexed or back."""
    legacy = None if "per_layer_config" in config.fields else True
    given = config.fields.get("use_dsa", legacy)
    types = config.layer_types(count)
    if types is None:
        windows = config.flag("use_sliding_window", default=True)
        full = "full_attention" if given is False else "indexed_attention"
        types = tuple(full if not windows or i < 2 or i % 4 == 1 else "sliding_attention" for i in range(count))
    if given is not None:
        old, new = ("full_attention", "indexed_attention") if given else ("indexed_attention", "full_attention")
        types = tuple(new if kind == old else kind for kind in types)
    return types


DOTS_WINDOWED = {
    "num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 1024, "kv_lora_rank": 1024,
    "head_dim": 256, "qk_nope_head_dim": 192, "v_head_dim": 128,
}  # fmt: skip
"""What transformers' Dots3NoteTextConfig takes for the `swa_` fields of windowed layers that a file leaves out."""


def _dots_attention(config: Config, count: int) -> Sequence[Block]:
    """dots.note: latent attention whose windowed layers have ranks and head sizes of their own (`swa_…`)."""
    types, hidden = _dots_types(config, count), config.size("hidden_size")
    swa = {name: config.fields.get(f"swa_{name}", default) for name, default in DOTS_WINDOWED.items()}
    swa["qk_rope_head_dim"] = config.fields.get("swa_qk_rope_head_dim", swa["head_dim"] - swa["qk_nope_head_dim"])
    window = config.optional_size("sliding_window") or config.size("sliding_window_size", default=512)
    blocks: dict[str, Block] = {}
    for kind in dict.fromkeys(types):
        own = config.layer(types.index(kind))
        if kind == "sliding_attention" and "per_layer_config" not in config.fields:
            own = Config({**config.fields, **swa}, config.class_defaults, config.path)
        block = Mla().block(own)
        if own.optional_size("q_lora_rank") is None:
            raise own.error("q_lora_rank", "This family's queries have a low rank.")
        block += norm("self_attn.k_rope_only_layernorm", own.size("qk_rope_head_dim"))
        block += linear("self_attn.g_proj", own.size("num_attention_heads"), hidden, Role.GATE)
        if kind == "indexed_attention":
            block = sparse_mla(block, own, indexed=True)
        elif kind == "sliding_attention":
            block = replace(block, mixers=(replace(block.mixers[0], window_tokens=window),))
        elif kind != "full_attention":
            raise config.error("layer_types", f"{kind!r} is no attention layer of this family.")
        blocks[kind] = block
    return [blocks[kind] for kind in types]


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "blt": blt,
    "dbrx": dbrx,
    "dots3_note_text": Decoder(
        _dots_attention,
        Moe(
            "n_routed_experts",
            sparse=_dots_sparse,
            dense=Mlp(bias=False),
            shared=("shared_experts_intermediate_size", "n_shared_experts"),
        ),
    ),
    "jetmoe": jetmoe,
    "minimax_m3_vl_text": Decoder(_m3_attention, _m3_mlp),
    "moshi": moshi,
    "musicgen": musicgen,
    "musicgen_melody": musicgen,
}
